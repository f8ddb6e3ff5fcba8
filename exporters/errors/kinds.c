/* The languages, in the order in which a line is offered to them. */
#include "exporters/errors/parse.h"

extern const struct error_kind python_errors, node_errors, java_errors, ruby_errors, go_errors, rust_errors, native_errors;

const struct error_kind *const error_kinds[] = {
	&python_errors,
	&java_errors,
	&go_errors,
	&rust_errors,
	&native_errors,
	&node_errors,
	&ruby_errors,
	NULL,
};
