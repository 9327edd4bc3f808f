#include "service/queue/queue_class.h"

#include "proto/smtp_client.h"

struct code_verdict class_of(const struct envelope_rcpt *r)
{
    static const enum code_stage stages[] = {
        [SMTP_AT_CONNECT] = CODE_AT_SESSION, [SMTP_AT_GREETING] = CODE_AT_SESSION,
        [SMTP_AT_HELLO] = CODE_AT_SESSION,   [SMTP_AT_MAIL] = CODE_AT_MAIL,
        [SMTP_AT_RCPT] = CODE_AT_RCPT,       [SMTP_AT_DATA] = CODE_AT_DATA,
        [SMTP_AT_END] = CODE_AT_DATA,        [SMTP_AT_TLS] = CODE_AT_SESSION,
        [SMTP_AT_AUTH] = CODE_AT_SESSION,
    };
    const struct code_reply reply = {
        .stage = r->stage < ARRAY_LEN(stages) ? stages[r->stage] : CODE_AT_ANY,
        .code = r->code,
        .esc = r->esc,
        .text = r->text,
    };
    return code_classify(&reply);
}

struct str class_word_of(const struct envelope_rcpt *r)
{
    bool has_failed = r->state == ENVELOPE_FAILED || r->state == ENVELOPE_DEFERRED;
    return has_failed ? str_from_c(code_class_word(class_of(r).class)) : STR_NIL;
}

bool class_is_useless(const struct code_verdict *v)
{
    return (v->class == CODE_UNKNOWN_USER || v->class == CODE_MAILBOX_DISABLED) && v->by != CODE_BY_CODE;
}
