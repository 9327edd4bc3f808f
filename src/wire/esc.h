/* wire/esc.h: enhanced status codes (RFC 3463) as numbers. */
#pragma once
#include "base/buf.h"

struct esc {
    uint8_t class; /* 2, 4, 5; 0: none */
    uint16_t subject, detail;
};
#define ESC(c, s, d) ((struct esc){(c), (s), (d)})
/* "5.1.1" at the start of s followed by a space or the end; *rest skips it and one space. False (nothing is
 * written) for anything else: other classes, leading zeros, more than three digits. */
bool esc_parse(struct str s, struct esc *out, struct str *rest);
/* Appends "5.1.1"; nothing when class is 0. */
void esc_format(struct esc e, struct buf *out);
