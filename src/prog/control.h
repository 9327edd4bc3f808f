/* prog/control.h: asks the running server through its control socket (service/admin/admin.h). */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdio.h>

/* Where a socket of the server is: what the variable says, else the usual place, else, where there is
 * nothing, that of this user's own `waxwing relay`. Good until the next call. */
const char *socket_path(const char *variable, const char *usual, const char *name);
/* --control, else likewise by $WAXWING_CONTROL and CONFIG_CONTROL_PATH. */
const char *control_path(const char *option);
/* Sends one request line and calls fn for each object of the answer but the last. Returns an exit code of
 * sysexits(3); what went wrong is printed to stderr. raw: objects are printed to stdout as they are and fn
 * is not called. */
int control_ask(const char *path, struct str request, bool raw, void (*fn)(void *arg, json_t *row),
                void *arg);
/* A text member, "" when absent. */
const char *row_text(json_t *row, const char *key);
/* Prints text for a terminal: control characters and those that turn its direction become '?', line ends a
 * space. */
void put_clean(FILE *to, struct str s);
void print_clean(const char *text);
/* Prints one line of JSON; such characters become escapes of it. */
void print_json(struct str line);
