/* queue/hint.h: when a server that refuses for the time being wants to be asked again: what the text of a
 * greylisting reply says. No RFC gives it a form; the texts are those of the common implementations.
 *
 * Limits:   RETRY_HINT_MIN_S .. RETRY_HINT_MAX_S whatever a server says.
 * Security: the text is foreign; it is only read.
 */
#pragma once
#include "wire/esc.h"

enum { RETRY_HINT_MIN_S = 60, RETRY_HINT_MAX_S = 3600, RETRY_HINT_GREYLISTED_S = 300 };

/* Seconds to wait, or 0 when the reply says nothing of it: "try again in 300 seconds", "in 5 minutes",
 * "00:04:59", or "greylisted" without a time. Replies other than 4yz say nothing. */
uint32_t report_retry_hint(uint16_t code, struct esc esc, struct str text);
