/* service/queue/queue_class.h: what the last answer for a recipient is about (wire/codes.h, docs/codes.md).
 */
#pragma once
#include "queue/envelope.h"
#include "wire/codes.h"

struct code_verdict class_of(const struct envelope_rcpt *r);
/* The class as a word; empty for one that has not failed, for the time being or for good. */
struct str class_word_of(const struct envelope_rcpt *r);
/* Nobody will ever read mail at that address: no such mailbox, or a closed one, and a status or a text says
 * so. A bare 550 does not, which rules of any kind say too. */
bool class_is_useless(const struct code_verdict *v);
