/* prog/folder.h: the folders that the server makes before it starts its processes, and whether they can be
 * used by those who need them.
 *
 * Root walks here, so nobody else may lead it: a path is walked folder by folder on descriptors, symbolic
 * links are followed only where root or we ourselves made them, and a folder is given away only when it was
 * made here or belongs to root.
 */
#pragma once
#include "base/buf.h"

/* Makes the folder and those above it. uid UINT32_MAX: it stays with us, open for all to enter; else it is
 * made for that user alone and given to it. false: why for people is in out. */
MUST_USE bool folder_make(struct str path, uint32_t uid, uint32_t gid, struct buf *out);
/* Can that user enter the folder and each one above it, and write it when wanted? false: out names what
 * stands in the way. Supplementary groups count for nothing: the roles have none. */
MUST_USE bool folder_is_open_to(struct str path, uint32_t uid, uint32_t gid, bool writes, struct buf *out);
/* Where programs of this user keep what is to stay: below $XDG_STATE_HOME (where that is absolute: the XDG
 * specification says that others are to be ignored), else ~/.local/state. Absolute, with its NUL. false:
 * there is no home, or it is too long; nothing was said. */
MUST_USE bool folder_of_state(const char *below, struct buf *out);
