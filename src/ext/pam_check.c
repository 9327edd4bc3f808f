#include "ext/pam_check.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <security/pam_appl.h>
#include <string.h>

struct conversation {
    const char *password;
    bool has_asked_more;
};

/* The answers are PAM's to free: base/mem.h gives what free() of the C library takes. */
static void drop(struct pam_response *list, int n)
{
    for (int i = 0; i < n; i++) {
        if (list[i].resp != NULL)
            secret_wipe(list[i].resp, strlen(list[i].resp));
        mem_free(list[i].resp);
    }
    mem_free(list);
}

static char *copy(const char *text)
{
    size_t n = strlen(text) + 1;
    char *p = mem_alloc(n);
    if (p != NULL)
        memcpy(p, text, n);
    return p;
}

static int converse(int n, const struct pam_message **messages, struct pam_response **out, void *arg)
{
    struct conversation *v = arg;
    if (n <= 0 || n > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *list = mem_alloc_array((size_t)n, sizeof *list);
    if (list == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < n; i++) {
        int style = messages[i]->msg_style;
        if (style == PAM_ERROR_MSG || style == PAM_TEXT_INFO)
            continue;
        bool is_ours = style == PAM_PROMPT_ECHO_OFF && v->password != NULL;
        list[i].resp = is_ours ? copy(v->password) : NULL;
        if (list[i].resp == NULL) {
            v->has_asked_more = !is_ours;
            drop(list, n);
            return is_ours ? PAM_BUF_ERR : PAM_CONV_ERR;
        }
        v->password = NULL; /* one question */
    }
    *out = list;
    return PAM_SUCCESS;
}

/* A wrong password is told at once: guesses are limited before they come here. */
static void no_delay(int status, unsigned usec, void *arg)
{
    UNUSED(status);
    UNUSED(usec);
    UNUSED(arg);
}

static enum pam_verdict verdict_of(int status)
{
    switch (status) {
    case PAM_SUCCESS:
        return PAM_CHECK_YES;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_CRED_EXPIRED:
    case PAM_CRED_INSUFFICIENT:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_AUTHTOK_EXPIRED:
        return PAM_CHECK_NO;
    default:
        return PAM_CHECK_LATER;
    }
}

static int set_items(pam_handle_t *h, const struct pam_question *q)
{
    const union {
        void (*fn)(int, unsigned, void *);
        const void *item;
    } delay = {.fn = no_delay}; /* PAM takes a function by a pointer to an object */
    int status = pam_set_item(h, PAM_FAIL_DELAY, delay.item);
    if (status == PAM_SUCCESS && q->client[0] != '\0')
        status = pam_set_item(h, PAM_RHOST, q->client);
    return status;
}

static enum pam_verdict check(const struct pam_question *q, struct buf *why)
{
    struct conversation v = {.password = q->password};
    const struct pam_conv conv = {converse, &v};
    pam_handle_t *h = NULL;
    int status = pam_start_confdir(q->service, q->user, &conv, q->folder, &h);
    if (status != PAM_SUCCESS) {
        buf_printf(why, "PAM can't start: %d", status);
        return PAM_CHECK_LATER;
    }
    const char *at = "auth";
    status = set_items(h, q);
    if (status == PAM_SUCCESS)
        status = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (status == PAM_SUCCESS) {
        at = "account";
        status = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    }
    if (v.has_asked_more)
        buf_puts(why, "a module asked for more than one password");
    else if (status != PAM_SUCCESS)
        buf_printf(why, "%s: %.200s", at, pam_strerror(h, status));
    (void)pam_end(h, status);
    return verdict_of(status);
}

struct pam_checker *pam_of_this_machine(void)
{
    static struct pam_checker checker = {check};
    return &checker;
}
