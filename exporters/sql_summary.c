/*
 * Words and parentheses of SQL, no grammar: a level for each open parenthesis says what a word means there. What is not known
 * is passed over, so that a name may be missing but no column is told as a table. See sql_summary.h.
 */
#include "exporters/sql_summary.h"
#include "exporters/sql_tokens.h"

#define DEPTH 64
#define CTES 16
#define OTHER_MOST 32 /* bytes of an operation that we do not know */

enum state {
	REST,     /* only words that always count */
	START,    /* an operation is due */
	SUB,      /* the same, but only a query may be */
	TARGET,   /* a target is due */
	LIST,     /* behind a target: a comma leads to another */
	KIND,     /* TABLE, INDEX... is due */
	SETTING,  /* a variable is due */
	PHRASE,   /* the operation may have another word */
	CTE_NAME, /* behind WITH */
	CTE,      /* and its name */
	DEAD,     /* nothing counts */
};

enum {
	FROM = 1,      /* FROM, JOIN, INTO, USING lead to targets */
	MANY = 2,      /* commas do */
	NESTS = 4,     /* may be anywhere a statement in a statement may be */
	CREATES = 8,   /* what is created may have a body */
	MAYBE = 16,    /* KIND may be left out */
	ON = 32,       /* ON leads to a target */
	PREAMBLE = 64, /* START: other words than an operation's go before it */
};

static const struct op {
	const char *words;
	uint8_t state, flags;
} ops[] = {
	{"select", REST, FROM | MANY | NESTS},
	{"insert replace", TARGET, NESTS},
	{"update merge", TARGET, FROM | MANY | NESTS},
	{"delete", REST, FROM | MANY | NESTS},
	{"create", KIND, CREATES},
	{"table", TARGET, NESTS},
	{"drop", KIND, MANY},
	{"alter comment", KIND, 0},
	{"truncate lock unlock analyze vacuum optimize check repair reindex refresh cluster", KIND, MANY | MAYBE},
	{"call use copy handler describe desc", TARGET, 0},
	{"set reset discard", SETTING, 0},
	{"show", SETTING, FROM},
	{"explain prepare declare", START, PREAMBLE}, /* the names of the latter are often numbered */
	{"start release rollback", PHRASE, 0},
	{"load", PHRASE, FROM},
	{"grant revoke", DEAD, 0},
};

static const char list_ends[] = "where group having order limit offset fetch for union intersect except minus window set values "
								"returning when duplicate";
static const char before_kind[] = "or replace temp temporary unlogged global local unique fulltext spatial recursive definer "
								  "algorithm sql security invoker constraint trusted procedural aggregate online offline ignore "
								  "no_write_to_binlog full freeze verbose analyze concurrently only on";
static const char before_target[] = "into table only lateral ignore low_priority high_priority if not exists concurrently";

struct level {
	uint8_t state, flags;
	bool recursive;
	struct slice cte; /* its name is one only behind its body, for those that are not recursive */
};

struct summary {
	struct sql_reader in;
	char *out;
	size_t n, cap;
	bool over;
	struct sql_token prev;
	unsigned depth, deeper; /* deeper: parentheses beyond DEPTH, passed over */
	struct level at[DEPTH];
	unsigned ctes;
	struct slice cte[CTES];
};

/* ---- writing ---- */

static bool behind(const struct summary *s, const char *words)
{
	return s->prev.what == SQL_WORD && sql_is(s->prev.s, words);
}

/* Without the blanks around dots. */
static void tell(struct summary *s, struct slice w)
{
	size_t n = s->n;
	char quote = 0;
	if (n && n < s->cap)
		s->out[n++] = ' ';
	else
		s->over |= n > 0;
	for (uint32_t i = 0; i < w.n && !s->over; i++) {
		char c = w.p[i];
		if (quote ? c == quote : c == '"' || c == '`')
			quote = quote ? 0 : c;
		if (!quote && sql_blank(c))
			continue;
		if (n == s->cap)
			s->over = true;
		else
			s->out[n++] = c;
	}
	if (!s->over)
		s->n = n;
}

static void target(struct summary *s, struct level *l, struct sql_token t)
{
	bool cte = false;
	l->state = l->flags & MANY ? LIST : REST;
	for (unsigned i = 0; i < s->ctes && !behind(s, "into"); i++)
		cte |= sql_same(s->cte[i], t.s);
	if (!cte && (t.what == SQL_WORD || t.what == SQL_NAME))
		tell(s, t.s);
}

/* ---- what words mean ---- */

static const struct op *known(struct sql_token t)
{
	for (size_t i = 0; i < sizeof ops / sizeof *ops && t.what == SQL_WORD; i++)
		if (sql_is(t.s, ops[i].words))
			return &ops[i];
	return NULL;
}

static void cte_over(struct summary *s, struct level *l)
{
	if (l->cte.n && s->ctes < CTES)
		s->cte[s->ctes++] = l->cte;
	l->cte.n = 0;
}

static void operation(struct summary *s, struct level *l, struct sql_token t, const struct op *op)
{
	cte_over(s, l);
	tell(s, t.s);
	l->state = op ? op->state : REST;
	l->flags = op ? op->flags : 0;
}

static void start(struct summary *s, struct level *l, struct sql_token t)
{
	bool within = s->depth || l->flags & PREAMBLE, plain = t.what == SQL_WORD && t.s.n <= OTHER_MOST;
	const struct op *op = known(t);
	for (uint32_t i = 0; i < t.s.n; i++)
		plain &= sql_letter(t.s.p[i]);
	if (t.what == SQL_WORD && sql_is(t.s, "with"))
		*l = (struct level){.state = CTE_NAME};
	else if (within ? op && op->flags & NESTS : plain)
		operation(s, l, t, op);
	else if (!(l->flags & PREAMBLE))
		l->state = REST;
}

static void kind(struct summary *s, struct level *l, struct sql_token t)
{
	if (s->prev.what == '=' || (t.what == SQL_WORD && sql_is(t.s, before_kind)))
		return; /* DEFINER = a@b PROCEDURE ... */
	bool maybe = l->flags & MAYBE;
	if (maybe && !(t.what == SQL_WORD && sql_is(t.s, "table tables view index schema database system materialized"))) {
		target(s, l, t);
		return;
	}
	tell(s, t.s);
	if (sql_is(t.s, "materialized foreign"))
		return;
	l->state = TARGET;
	if (sql_is(t.s, "index"))
		l->flags |= ON;
	if (!sql_is(t.s, "function procedure trigger event rule policy package"))
		l->flags &= (uint8_t)~CREATES;
}

static void setting(struct summary *s, struct level *l, struct sql_token t)
{
	if (t.what == SQL_WORD && sql_is(t.s, "session local global persist persist_only full extended"))
		return;
	tell(s, t.s);
	l->state = t.what == SQL_WORD && l->flags & FROM && sql_is(t.s, "create") ? KIND : REST;
}

static void due(struct summary *s, struct level *l, struct sql_token t)
{
	if (t.what == SQL_WORD) {
		if (sql_is(t.s, before_target) || (sql_is(t.s, "delayed") && behind(s, "insert replace")) ||
		    (sql_is(t.s, "temp temporary unlogged") && behind(s, "into")) || (sql_is(t.s, "oj") && s->prev.what == '{') ||
		    (l->flags & ON && sql_is(t.s, "on")))
			return;
		if (sql_is(t.s, list_ends) || (sql_is(t.s, "outfile dumpfile") && behind(s, "into"))) {
			l->state = REST;
			return;
		}
	}
	target(s, l, t);
	if (l->flags & CREATES)
		s->over = true; /* a body may follow, which is not run now */
}

/* Words that count wherever they are. */
static void keyword(struct summary *s, struct level *l, struct sql_token t)
{
	bool from = l->flags & FROM;
	if ((from && sql_is(t.s, "from") && !behind(s, "distinct")) || (from && sql_is(t.s, "into using")) ||
	    (from && sql_is(t.s, "join") && !behind(s, "for")) || (l->state == LIST && sql_is(t.s, "straight_join"))) {
		l->state = TARGET;
	} else if (l->flags & ON && sql_is(t.s, "on")) {
		l->state = TARGET;
		l->flags &= (uint8_t)~ON;
	} else if (l->state == LIST && sql_is(t.s, list_ends)) {
		l->state = REST;
	} else if (sql_is(t.s, "with") && !from && (behind(s, "as") || l->flags == NESTS)) {
		*l = (struct level){.state = CTE_NAME}; /* INSERT INTO t WITH ... */
	}
}

static void word(struct summary *s, struct level *l, struct sql_token t)
{
	bool bare = t.what == SQL_WORD;
	if (bare && l->flags & FROM && behind(s, "as"))
		return; /* any word may be an alias */
	if ((l->state == SUB || (l->state == TARGET && s->prev.what == '(')) && bare && sql_is(t.s, "with")) {
		*l = (struct level){.state = CTE_NAME};
		return;
	}
	if (l->state == SUB)
		l->state = REST;
	if (l->state != DEAD && l->state != CTE_NAME && bare && sql_is(t.s, "select")) {
		operation(s, l, t, &ops[0]);
		return;
	}
	switch (l->state) {
	case START:
		start(s, l, t);
		break;
	case TARGET:
		due(s, l, t);
		break;
	case KIND:
		kind(s, l, t);
		break;
	case SETTING:
		setting(s, l, t);
		break;
	case CTE_NAME:
		if (bare && sql_is(t.s, "recursive") && behind(s, "with")) {
			l->recursive = true;
			break;
		}
		l->state = CTE;
		l->cte = t.s;
		if (l->recursive)
			cte_over(s, l);
		break;
	case CTE: {
		const struct op *op = known(t);
		if (op && op->flags & NESTS)
			operation(s, l, t, op);
		break;
	}
	case PHRASE:
		if (bare && sql_is(t.s, "transaction savepoint to data xml")) {
			tell(s, t.s);
			break;
		}
		l->state = REST;
		/* fall through */
	case REST:
	case LIST:
		if (bare)
			keyword(s, l, t);
		break;
	default:
		break;
	}
}

static void open(struct summary *s, struct level *l)
{
	struct level in = {.state = SUB};
	if (l->state == DEAD) {
		in.state = DEAD;
	} else if (l->state == TARGET) {
		if (!behind(s, "using")) /* JOIN t USING (a) */
			in = (struct level){.state = TARGET, .flags = FROM | MANY};
		l->state = l->flags & MANY ? LIST : REST;
	} else if (l->state == START && !(l->flags & PREAMBLE)) {
		in.state = START;
		l->state = REST;
	} else if (l->state == CTE && behind(s, "as materialized")) {
		in.state = START;
	}
	if (s->depth + 1 < DEPTH)
		s->at[++s->depth] = in;
	else
		s->deeper = 1;
}

static void punctuation(struct summary *s, struct level *l, char c)
{
	if (c == '(' || c == '[') {
		open(s, l);
	} else if (c == ')' || c == ']') {
		s->depth -= s->depth > 0;
	} else if (c == ',') {
		if (l->state == LIST)
			l->state = TARGET;
		if (l->state == CTE) {
			cte_over(s, l);
			l->state = CTE_NAME;
		}
	} else if (l->state == TARGET && c != '{') {
		l->state = REST;
	}
}

static void token(struct summary *s, struct sql_token t)
{
	struct level *l = &s->at[s->depth];
	if (t.what == ';') {
		s->depth = s->deeper = s->ctes = 0;
		s->at[0] = (struct level){.state = START};
	} else if (s->deeper) {
		s->deeper += (t.what == '(' || t.what == '[');
		s->deeper -= (t.what == ')' || t.what == ']');
	} else if (t.what == SQL_WORD || t.what == SQL_NAME) {
		word(s, l, t);
	} else if (t.what == SQL_VAR && l->state == SETTING) {
		setting(s, l, t);
	} else if ((t.what == SQL_VAR || t.what == SQL_VALUE) && l->state == TARGET) {
		target(s, l, t);
	} else if (t.what != SQL_VAR && t.what != SQL_VALUE) {
		punctuation(s, l, (char)t.what);
	}
	s->prev = t;
}

size_t sql_summary(struct slice text, char *out, size_t cap)
{
	struct summary s = {.in = {text.p, text.n ? text.p + text.n : text.p}, .out = out};
	s.cap = cap < SQL_SUMMARY_MAX ? cap : SQL_SUMMARY_MAX;
	s.at[0].state = START;
	for (struct sql_token t; !s.over && (t = sql_next(&s.in)).what != SQL_END;)
		token(&s, t);
	return s.n;
}
