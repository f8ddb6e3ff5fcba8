/* The crash file: hostile head, sections, maps, build-ids, threads. Files it names are real ones of this machine. */
#include "exporters/crash/crash_file.h"
#include "exporters/crash/report.h"
#include "exporters/errors/errors.h"
#include "exporters/timeline.h"
#include "fuzz.h"
#include "shim/base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *file = exact(data, size);
	const char *why;
	static struct crash_file f;
	if (!crash_file_open(&f, file, size)) {
		for (size_t i = 0; i < f.n; i++) {
			HOLDS(f.part[i].p >= (uint8_t *)file && f.part[i].p <= (uint8_t *)file + size);
			HOLDS(f.part[i].n <= (size_t)((uint8_t *)file + size - f.part[i].p));
			struct timeline *t = timeline_new(NULL);
			timeline_add_words(t, 1, f.part[i].p, f.part[i].n);
			timeline_delete(t);
		}
	}
	uint64_t start = mono_ns();
	struct report *r = crash_report_make_with(file, size, &(struct crash_report_opts){.ms = 500, .debug_max = 1 << 20, .debug_dir = "/nowhere"}, &why);
	HOLDS(mono_ns() - start < 5000000000u);
	HOLDS(r || why);
	if (r) {
		HOLDS(r->n_threads >= 1 && r->n_exceptions == 1 && r->title && r->text && r->description && r->unwind);
		HOLDS(r->fingerprint[40] == 0 && strlen(r->fingerprint) == 40 && strlen(r->uuid) == 36);
		for (size_t i = 0; i < r->n_threads; i++)
			HOLDS(r->threads[i].n <= 256);
		errors_last_words(r);
		HOLDS(r->n_exceptions >= 1 && r->title && r->text && strlen(r->fingerprint) == 40);
	}
	report_free(r);
	free(file);
	return 0;
}
