#include "conn/names.h"
#include "base/racy.h"

#define SLOTS 64 /* an address has one place; who comes later takes it */

struct named {
	_Atomic uint32_t serial; /* odd: being written */
	uint8_t family, n;
	uint8_t ip[16];
	char text[NAME_MOST];
};

static struct named table[SLOTS];

static struct named *place_of(const struct rec_addr *a)
{
	uint32_t h = a->family;
	for (unsigned i = 0; i < sizeof a->ip; i++)
		h = h * 31 + a->ip[i];
	return &table[(h ^ h >> 8) % SLOTS];
}

/* An address in digits is no name. */
static bool is_address(struct slice s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] == ':')
			return true;
		if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	}
	return true;
}

void names_add(const struct rec_addr *a, struct slice name)
{
	struct named *t = place_of(a);
	if (!a->family || name.n > NAME_MOST || is_address(name))
		return;
	uint32_t serial = atomic_load_explicit(&t->serial, memory_order_relaxed);
	if (serial & 1 || !atomic_compare_exchange_strong(&t->serial, &serial, serial + 1))
		return; /* somebody writes: his is as new */
	atomic_thread_fence(memory_order_release);
	t->family = a->family;
	t->n = (uint8_t)name.n;
	memcpy(t->ip, a->ip, sizeof t->ip);
	memcpy(t->text, name.p, name.n);
	atomic_store_explicit(&t->serial, serial + 2, memory_order_release);
}

uint32_t names_find(const struct rec_addr *a, char out[static NAME_MOST])
{
	struct named *t = place_of(a), copy;
	uint32_t serial = atomic_load_explicit(&t->serial, memory_order_acquire);
	racy_copy(&copy, t, sizeof copy);
	if (serial & 1 || atomic_load_explicit(&t->serial, memory_order_relaxed) != serial || !a->family ||
	    copy.family != a->family || memcmp(copy.ip, a->ip, sizeof copy.ip) != 0 || copy.n > NAME_MOST)
		return 0;
	memcpy(out, copy.text, copy.n);
	return copy.n;
}
