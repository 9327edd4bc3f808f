#include "service/https/https.h"

#include "base/mem.h"

#include <string.h>

bool https_pages_make(const struct config *c, struct https_pages *out)
{
    struct buf texts;
    *out = (struct https_pages){.list = mem_alloc_array(c->n_sts_hosts + 1, sizeof *out->list)};
    buf_init(&texts, (size_t)MTA_STS_OWN_MAX * (c->n_sts_hosts + 1));
    for (size_t i = 0; out->list != NULL && i < c->n_sts_hosts; i++) {
        size_t before = texts.n;
        mta_sts_own_policy(&c->sts_hosts[i].policy, &texts);
        out->list[i] = (struct sts_page){c->sts_hosts[i].domain, {NULL, texts.n - before}};
    }
    out->texts = out->list == NULL || texts.failed ? NULL : mem_alloc(texts.n + 1);
    if (out->texts == NULL) {
        buf_fini(&texts);
        https_pages_free(out);
        return false;
    }
    size_t at = 0;
    for (; out->n < c->n_sts_hosts; out->n++) { /* the texts have found their place */
        struct str *policy = &out->list[out->n].policy;
        *policy = str_of(out->texts + at, policy->n);
        at += policy->n;
    }
    memcpy(out->texts, texts.n > 0 ? texts.p : "", texts.n);
    buf_fini(&texts);
    return true;
}

void https_pages_free(struct https_pages *p)
{
    mem_free(p->list);
    mem_free(p->texts);
    *p = (struct https_pages){.list = NULL};
}
