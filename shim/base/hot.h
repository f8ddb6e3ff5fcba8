/*
 * Functions that nearly every request passes lie together (.text.hot): they cost few pages and cache lines of the program's
 * own. `scripts/bench callgrind` shows which they are, and how many lines they take.
 */
#ifndef REMORA_HOT_H
#define REMORA_HOT_H

#define HOT __attribute__((hot))
/* Its callers' way to it is moved out of theirs. */
#define COLD __attribute__((cold))

#endif
