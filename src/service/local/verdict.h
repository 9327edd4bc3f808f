/* service/local/verdict.h: what the end of a program says of the delivery into it.
 *
 * As in Postfix pipe(8) and local(8): exit status 0 is success, whatever was read; the status codes of
 * sysexits.h say what is for good and what is not; a status code of RFC 3463 at the start of the output goes
 * before them. Death by a signal is temporary, where Postfix returns the mail: a program that somebody or the
 * kernel ended may do its work next time. So is a program that could not be executed: that is trouble of
 * ours.
 */
#pragma once
#include "base/world.h"
#include "ipc/lists.h"

enum { VERDICT_OUTPUT_MAX = 4096 };

/* output: what the program wrote first, at most VERDICT_OUTPUT_MAX octets of any kind. Its text is put into
 * `text` (fixed, at least RESULT_TEXT_MAX), control characters and what is no UTF-8 made harmless. */
void verdict_of(const struct program_end *end, struct str output, struct buf *text, struct job_result *out);
