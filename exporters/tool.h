/*
 * What the remora command does with the exporter's means: reads the store, sends what lies around, tries Rollbar. In
 * the command's own process, on its only thread. The arguments are those behind "remora"; the result is its exit
 * status: 0 done, 1 not done, 2 wrong usage.
 *
 *	crashes [list] | crashes show ID [--json] | flush [--all] | rollbar test [MESSAGE] | crash-helper FILE
 */
#ifndef REMORA_TOOL_H
#define REMORA_TOOL_H

int remora_export_tool(const char *const *argv);

#endif
