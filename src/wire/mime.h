/* wire/mime.h: walks through the structure of a message that comes in pieces (RFC 2046 5.1, 5.2.1): header
 * sections, bodies, and what lies between. The texts of all events, one after the other, are the message.
 *
 * Owns:     one header section and one line that may be a delimiter.
 * Limits:   MIME_HEADER_MAX octets a section, MIME_DEPTH_MAX levels, MIME_PARTS_MAX parts, a boundary of
 *           MIME_BOUNDARY_MAX octets (RFC 2046 says 70). Beyond one of them the walk goes on without
 *           structure: the rest is one body, and mime_trouble() says why.
 * Security: no recursion. A line ends in CRLF or LF, as lenient readers have it, so that no reader sees a
 *           part that was not seen here.
 *
 * A line belongs to the innermost multipart whose delimiter it is exactly, then to one whose delimiter it
 * begins with (RFC 2046 5.1.1, and Postfix; sendmail wants the whole line).
 */
#pragma once
#include "wire/mime_field.h"

enum {
    MIME_HEADER_MAX = 100 * 1024, /* as HEADER_SECTION_MAX, for each section */
    MIME_DEPTH_MAX = 32,
    MIME_PARTS_MAX = 1000,
    MIME_BOUNDARY_MAX = 200,
    MIME_HELD_MAX = 512,
    MIME_NAME_MAX = 6 * (MIME_DEPTH_MAX + 1), /* "2.1.13", the longest */
};

enum mime_kind {
    MIME_LEAF = 0,
    MIME_MULTIPART,
    MIME_MESSAGE, /* message/rfc822: the header section of the message within follows */
    MIME_BROKEN,  /* a multipart without a usable boundary: its body is not looked into */
};
enum mime_trouble { MIME_FINE = 0, MIME_HEADER_TOO_BIG, MIME_TOO_DEEP, MIME_TOO_MANY };

struct mime_part {
    unsigned index; /* in the order of header sections, from 0 */
    unsigned depth;
    unsigned root; /* index of the message it belongs to; of a message within another: of that one */
    enum mime_kind kind;
    enum mime_encoding encoding;
    bool is_root;      /* the message itself, or one within message/rfc822: MIME-Version belongs here */
    bool is_protected; /* within a multipart/signed or multipart/encrypted: no octet may change */
    bool has_type, has_version;
    struct mime_type type; /* valid while the MIME_HEADER event is; what it is by default when !has_type */
};
enum mime_event_kind {
    MIME_MORE = 0,  /* octets were taken, nothing to say yet */
    MIME_HEADER,    /* a whole header section, its empty line (if any) included: a part begins */
    MIME_BODY,      /* octets of the part's body, which may be more than one event long */
    MIME_BETWEEN,   /* before the first or behind the last delimiter of a multipart: no reader shows it */
    MIME_DELIMITER, /* a line between parts with the line end before it: the part has ended */
};
struct mime_event {
    enum mime_event_kind kind;
    struct str text; /* valid until the next call, or as long as the input */
};

struct mime;
/* About 110 KiB from the heap; NULL without memory. */
struct mime *mime_new(void);
void mime_del(struct mime **m);
void mime_reset(struct mime *m);
/* Octets of in consumed; call until all are (0 are consumed, at times, while there are events). */
size_t mime_step(struct mime *m, struct str in, struct mime_event *out);
/* After the last octet, until it says false. */
bool mime_finish(struct mime *m, struct mime_event *out);
/* Of the last event; for MIME_BETWEEN the last part that began, but for is_protected, which is the
 * multipart's. */
const struct mime_part *mime_part(const struct mime *m);
enum mime_trouble mime_trouble(const struct mime *m);
/* "2.1" for the first part of the second part (the message within a message/rfc822 counts as its part 1);
 * empty for the message itself. At most MIME_NAME_MAX octets. */
void mime_part_name(const struct mime *m, struct buf *out);
