/* config/check.h: between check.c and its like only. */
#pragma once
#include "config/loader.h"

struct place check_given_at(const struct loader *ld, const char *fact);
struct place check_whole_file(const struct loader *ld);
/* What was given, or else the default of the key, which is a text. */
struct str check_path_or(struct loader *ld, const char *section, const char *key, struct str given);
/* Domains by themselves and together. */
void check_domains(struct loader *ld);
/* Numbers the files of passwords, and those who look at them elsewhere; before check_domains(). */
void check_passwords(struct loader *ld);
/* Access tokens: what the fact lacks, and whose users they log in; before check_domains(). */
void check_oauth(struct loader *ld);
/* Certificates and logins: what listeners do with them; before the list of listeners is made. */
void check_security(struct loader *ld);
/* Certificates for policy hosts that an authority is to issue, into `list` behind those that were named. */
void check_sts_certificates(struct loader *ld, struct certificate_conf *list);
/* A certificate of an authority for these names has its files. */
void check_acme_files(struct loader *ld, struct certificate_conf *c);
/* Policies of MTA-STS that are served here, and where; behind check_domains(). */
void check_sts(struct loader *ld);
/* Can't both be bound. */
bool check_overlap(const struct netaddr *a, const struct netaddr *b);
/* Where mail for postmaster, abuse, catch-alls and aliases ends; only when all else is well. */
void check_redirections(struct loader *ld);
