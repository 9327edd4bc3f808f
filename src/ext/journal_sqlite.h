/* ext/journal_sqlite.h: the journal of ext/journal.h in an SQLite file, journal.db in its own folder.
 *
 * Owns:     the file with its -wal and -shm, and two connections: one writes, one only reads.
 * Limits:   JOURNAL_SIZE_MAX octets of lines: beyond that expire() lets the oldest go whatever their age;
 * each call does a bounded piece of work. Errors:   a file that is damaged or of another version is set aside
 * as journal.damaged-N.db and a new one is begun; that is logged as journal.damaged and nothing else stops.
 * Security: the file is mode 0600. Remote text is bound as values, never part of a statement.
 */
#pragma once
#include "base/log.h"
#include "ext/journal.h"

#define JOURNAL_SIZE_MAX ((uint64_t)2 * 1024 * 1024 * 1024)
enum { JOURNAL_EXPIRE_CHUNK = 2000, JOURNAL_TEXT_MAX = 4096 };

/* NULL and *out_err when it can be neither opened nor made. folder and log must outlive the journal. */
struct journal *journal_sqlite_open(const char *folder, const struct log *log, enum err *out_err);
/* Flushes. Clears *j. */
void journal_sqlite_close(struct journal **j);
