/* prog/user_lines.h: the text of a file of users and their passwords (users = passwd "FILE"), edited line by
 * line.
 *
 * A line is NAME:VERIFIERS[:more]. NAME is a user ("joe"), or one of his passwords for a single program
 * ("joe/phone"); names are compared without regard to ASCII case. Lines that begin with # are comments. All
 * that an edit is not about stays as it is, octet for octet: comments, order, fields behind the second colon,
 * line ends.
 *
 * Owns:     nothing; slices borrow from the text.
 * Limits:   none of its own; each call is linear in the text.
 * Errors:   out->failed where there is no room.
 */
#pragma once
#include "base/buf.h"

struct user_line {
    struct str raw;   /* with its end */
    struct str name;  /* empty: a comment or an empty line */
    struct str field; /* what verifies the password, or empty */
};

/* The next line; false at the end. */
bool user_file_next(struct str *text, struct user_line *out);
/* The first line of that name. */
bool user_file_find(struct str text, struct str name, struct user_line *out);
/* Is the line one of this user's, his own or that of a password for a program? */
bool user_file_is_of(const struct user_line *l, struct str user);
/* Appends the text with this password for name: put into its line, or a new line behind the user's others, or
 * at the end. */
void user_file_set(struct str text, struct str name, struct str field, struct buf *out);
/* Appends the text without the lines of name; of a user, also without those of his programs. Returns how many
 * are gone. */
size_t user_file_remove(struct str text, struct str name, struct buf *out);
