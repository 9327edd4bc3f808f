/* prog/acme_files.h: the files of certificates that an authority issues: the supervisor's side.
 *
 *   FOLDER/NAME.key         the private key, for the supervisor alone; made here once and never changed
 *   FOLDER/NAME.crt         what is in force: signed by itself at first, then the authority's
 *   FOLDER/client           of the acme role, and of its program, alone
 *   FOLDER/client/NAME.csr        the request; written here
 *   FOLDER/client/NAME-cert.pem   what came from the authority; taken from here when it is good
 *
 * Owns:     nothing. Keys are in the memory of a child process, which ends with the call.
 * Limits:   TLS_CHAIN_SIZE_MAX octets a file.
 * Errors:   text for people in why. What came from the authority and is not good is thrown away, with a
 *           line in the log, so that another is asked for.
 * Security: the client's folder is another user's: nothing there is followed, and what is made there is
 *           new. Its content is taken only when it belongs to the key, and is for the names: whoever takes
 *           the acme role over can bring in a certificate of the authority for our key, and no more.
 */
#pragma once
#include "base/log.h"
#include "config/config.h"

/* Both work in a child process and wait for it: some milliseconds.
 *
 * Makes what is missing, for each certificate of the configuration, and does acme_files_take(). uid
 * UINT32_MAX: all is ours. */
MUST_USE bool acme_files_make(const struct config *c, uint32_t uid, uint32_t gid, const struct log *log,
                              struct buf *why);
/* Takes what has come from the authority. */
void acme_files_take(const struct config *c, const struct log *log);
