/* Frames of tail calls: functions that were left by a jump. exporter thread, or the remora command. */
#ifndef REMORA_CRASH_TAIL_H
#define REMORA_CRASH_TAIL_H

#include "exporters/crash/unwind.h"

/* Puts them in, as a debugger does, where the compiler's notes on calls leave no doubt. */
void tail_frames(struct modules *m, struct unwind *u);

#endif
