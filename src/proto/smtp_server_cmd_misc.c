/* proto/smtp_server_cmd_misc.c: RSET, NOOP, VRFY and QUIT (RFC 5321 4.1.1.5 to 4.1.1.10). */
#include "proto/smtp_server_cmd.h"

void cmd_rset(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    smtp_server_end_transaction(s);
    smtp_server_reply(s, R_RESET, STR_NIL);
}

void cmd_noop(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    smtp_server_reply(s, R_OK, STR_NIL);
}

/* RFC 5321 3.5.3 and 7.3: 252 for every name, so that nobody can try names without sending mail. */
void cmd_vrfy(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    smtp_server_reply(s, R_VRFY, STR_NIL);
}

void cmd_quit(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    smtp_server_end(s, R_BYE);
}
