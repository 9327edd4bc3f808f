/* prog/cmd_dev_box.h: what lies in the Maildirs below a folder MAIL/DOMAIN/USER, as messages.
 *
 * Delivery writes one file for each recipient and puts the message's queue id into its name
 * (service/local/deliver.c): files of one id are one message. They are in the order in which they were
 * written, which need not be that of the ids: a large message takes longer. A message's number is its place
 * in this order, from 1; it stays as long as no older message is removed, but for one that is written in the
 * very moment in which it is looked at.
 *
 * Limits:   BOX_COPIES_MAX files; what goes beyond is left out (is_cut).
 * Security: folders are opened one in the other without following links.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

enum { BOX_COPIES_MAX = 500000 };

struct box_copy {
    uint64_t id;
    int64_t when_ns; /* when it was written, since 1970 */
    struct str path; /* below the folder of mail; a NUL follows */
};
struct box_message {
    uint64_t id;
    int64_t when_ns;               /* of the first copy */
    const struct box_copy *copies; /* one a recipient, by path */
    size_t n_copies;
};
struct box {
    struct box_copy *copies;
    size_t n_copies, room;
    struct box_message *messages; /* the oldest first */
    size_t n_messages;
    bool is_cut;
    struct chunk_pool pool;
    struct arena arena;
};

/* All of it anew; box_fini() in any case. folder: each folder is told before it is read (path "." is `mail`
 * itself), or NULL. */
MUST_USE enum err box_scan(struct box *b, int mail, void (*folder)(void *arg, const char *path), void *arg);
void box_init(struct box *b);
void box_fini(struct box *b);
/* Adds a file as the scan does. */
MUST_USE enum err box_add(struct box *b, struct str path, int64_t when_ns);
MUST_USE enum err box_group(struct box *b);
/* "3", "latest" or a queue id; STR_NPOS: there is none. */
size_t box_find(const struct box *b, struct str which);

/* "SECONDS.R...Q<id>.waxwing", with or without the flags that mail readers put behind ":2,". */
bool box_name(struct str name, uint64_t *out_id);

/* What delivery and reception put on top of a message (service/local/maildir.c, service/smtpd/put.c). */
struct box_head {
    struct str from;    /* the envelope sender, without brackets; empty for <> */
    struct str to;      /* the envelope recipient of this copy */
    struct str message; /* as it was sent, but for line ends, which are LF */
};
/* file: a whole file or its beginning. false: it does not begin as delivery writes it. */
bool box_head(struct str file, struct box_head *out);
