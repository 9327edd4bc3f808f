/* service/boot/signer.h: the signatures of a role that speaks TLS with certificates of ours: its contexts
 * ask, the keys role signs, and what is open between them is remembered here.
 */
#pragma once
#include "base/idmap.h"
#include "base/world.h"
#include "ipc/schema.h"

enum { SIGNER_OPEN_MAX = 1000 };

struct signer {
    struct world *world;
    struct channel **keys; /* the role's own; NULL there: keys is not up */
    struct idmap open;     /* by token */
    bool is_set;
};

/* keys: where the role has its channel to the keys role, for as long as s. */
void signer_init(struct signer *s, struct world *w, struct channel **keys);
/* The world's contexts sign by s from now on. Again: nothing happens. Beyond SIGNER_OPEN_MAX open ones, and
 * while keys is not up, a signature fails with ERR_AGAIN. */
void signer_set(struct signer *s);
/* The answer of keys; one that nobody waits for is dropped. */
void signer_on_answer(struct signer *s, const struct ipc_sign_answer *m);
/* Keys is gone: what is open fails with ERR_CLOSED, and its connection is made again by who wants it. Sets
 * the role's channel to NULL; closing it is the role's affair. */
void signer_keys_lost(struct signer *s);
/* Fails what is open, and takes s from the world. */
void signer_fini(struct signer *s);
