/* A module of PAM for the tests of pam_check.c: its first word says what it asks and what it says then. */
#include <security/pam_appl.h>
#include <security/pam_modules.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED_MAX = 40 };

/* A letter for each message: p a hidden text, e one that shows, i and x what is only said. Each word is one
 * call of the conversation. */
static int ask(pam_handle_t *h, const char *letters, char *first, size_t cap)
{
    struct pam_message messages[ASKED_MAX];
    const struct pam_message *list[ASKED_MAX];
    struct pam_response *answers = NULL;
    const void *item = NULL;
    int n = 0;
    for (; letters[n] != '\0' && n < ASKED_MAX; n++) {
        char c = letters[n];
        messages[n].msg_style = c == 'p'   ? PAM_PROMPT_ECHO_OFF
                                : c == 'e' ? PAM_PROMPT_ECHO_ON
                                : c == 'i' ? PAM_TEXT_INFO
                                           : PAM_ERROR_MSG;
        messages[n].msg = "what?";
        list[n] = &messages[n];
    }
    if (pam_get_item(h, PAM_CONV, &item) != PAM_SUCCESS || item == NULL)
        return PAM_SYSTEM_ERR;
    const struct pam_conv *conv = item;
    int status = conv->conv(n, list, &answers, conv->appdata_ptr);
    if (status != PAM_SUCCESS)
        return status;
    for (int i = 0; i < n; i++) {
        if (answers[i].resp != NULL && first[0] == '\0' && strlen(answers[i].resp) < cap)
            (void)memcpy(first, answers[i].resp, strlen(answers[i].resp) + 1);
        free(answers[i].resp);
    }
    free(answers);
    return PAM_SUCCESS;
}

int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
    char text[2048] = "";
    (void)flags;
    int status = PAM_SUCCESS;
    for (int i = 0; i < argc && status == PAM_SUCCESS; i++)
        status = ask(h, argv[i], text, sizeof text);
    if (status != PAM_SUCCESS)
        return status;
    return strcmp(text, "right") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
    (void)h;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}

/* What the account is like: the word. */
int pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv)
{
    (void)h;
    (void)flags;
    if (argc == 0)
        return PAM_SUCCESS;
    return strcmp(argv[0], "expired") == 0 ? PAM_ACCT_EXPIRED
           : strcmp(argv[0], "renew") == 0 ? PAM_NEW_AUTHTOK_REQD
                                           : PAM_AUTHINFO_UNAVAIL;
}
