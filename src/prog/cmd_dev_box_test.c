#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prog/cmd_dev_box.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_OF(id) "1795558919.R6d57d160f3b5130fQ" id ".waxwing"
#define ID_1 "0000000000001"
#define ID_2 "0000000000002"
#define ID_9 "0000000000009"

static void names_are_read(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name;
        bool is_good;
    } rows[] = {
        {FILE_OF(ID_9), true},
        {FILE_OF(ID_9) ":2,", true},
        {FILE_OF(ID_9) ":2,FS", true},
        {FILE_OF(ID_9) ":1,S", false},
        {FILE_OF(ID_9) "x", false},
        {FILE_OF("000000000000"), false},
        {FILE_OF("00000000000000"), false},
        {FILE_OF("00000000000U0"), false},
        {"1795558919.R6d57d160f3b5130fQ" ID_9, false},
        {"1795558919.M6d57d160f3b5130fQ" ID_9 ".waxwing", false},
        {"x.R6d57d160f3b5130fQ" ID_9 ".waxwing", false},
        {"99999999999999999999.RQ" ID_9 ".waxwing", false},
        {".RQ" ID_9 ".waxwing", false},
        {"1795558919.R", false},
        {"1795558919.", false},
        {"1795558919", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = 0;
        struct str whole = str_from_c(rows[i].name);
        assert_int_equal(box_name(whole, &id), rows[i].is_good);
        if (rows[i].is_good)
            assert_true(id == 9);
        for (size_t n = 0; n < whole.n; n++)
            (void)box_name(str_slice(whole, 0, n), &id);
    }
}

static void head_is_taken_off(void **state)
{
    UNUSED(state);
#define TOP "Return-Path: <a@b>\nDelivered-To: c@d\n"
    struct box_head h;
    assert_true(box_head(STR(TOP "Received: from x\n\tby y;\n date\nSubject: s\n\nbody\n"), &h));
    assert_true(str_eq(h.from, STR("a@b")) && str_eq(h.to, STR("c@d")));
    assert_true(str_eq(h.message, STR("Subject: s\n\nbody\n")));
    /* a Received field of the application's own stays */
    assert_true(box_head(STR(TOP "Received: ours\nReceived: theirs\n\n"), &h));
    assert_true(str_eq(h.message, STR("Received: theirs\n\n")));
    assert_true(box_head(STR(TOP "Subject: s\nReceived: theirs\n\n"), &h));
    assert_true(str_eq(h.message, STR("Subject: s\nReceived: theirs\n\n")));
    assert_true(box_head(STR("Return-Path: <>\nDelivered-To: c@d\n"), &h));
    assert_true(h.from.n == 0 && h.message.n == 0);
    assert_false(box_head(STR(""), &h));
    assert_false(box_head(STR("Return-Path: <a@b\nDelivered-To: c@d\n"), &h));
    assert_false(box_head(STR("Return-Path: <"), &h));
    assert_false(box_head(STR("Delivered-To: c@d\nReturn-Path: <a@b>\n"), &h));
}

static void files_of_one_id_are_one_message(void **state)
{
    UNUSED(state);
    /* the order is that of times, where these are the same that of ids */
    static const int64_t times[] = {500, 200, 300, 301, 0, 400};
    static const char *const paths[] = {
        "b.example/joe/new/" FILE_OF(ID_2),  "a.example/ann/new/" FILE_OF(ID_9),
        "a.example/joe/new/" FILE_OF(ID_1),  "a.example/ann/cur/" FILE_OF(ID_2) ":2,S",
        "a.example/ann/new/dovecot-uidlist", "c.example/x/new/" FILE_OF(ID_2),
    };
    struct box b;
    box_init(&b);
    assert_int_equal(box_find(&b, STR("latest")), STR_NPOS);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(box_add(&b, str_from_c(paths[i]), times[i]), ERR_OK);
    assert_int_equal(box_group(&b), ERR_OK);
    assert_int_equal(b.n_messages, 3);
    assert_int_equal(b.n_copies, 5);
    assert_true(b.messages[0].id == 9 && b.messages[1].id == 1 && b.messages[2].id == 2);
    assert_true(b.messages[0].n_copies == 1 && b.messages[1].n_copies == 1 && b.messages[2].n_copies == 3);
    assert_true(b.messages[2].when_ns == 301);
    assert_string_equal(b.messages[2].copies[0].path.p, paths[3]);
    assert_string_equal(b.messages[2].copies[1].path.p, paths[0]);
    assert_string_equal(b.messages[2].copies[2].path.p, paths[5]);
    assert_int_equal(box_find(&b, STR("1")), 0);
    assert_int_equal(box_find(&b, STR("3")), 2);
    assert_int_equal(box_find(&b, STR("latest")), 2);
    assert_int_equal(box_find(&b, STR(ID_2)), 2);
    assert_int_equal(box_find(&b, STR("000000000000z")), STR_NPOS);
    assert_int_equal(box_find(&b, STR("0")), STR_NPOS);
    assert_int_equal(box_find(&b, STR("4")), STR_NPOS);
    assert_int_equal(box_find(&b, STR("-1")), STR_NPOS);
    assert_int_equal(box_find(&b, STR("")), STR_NPOS);
    box_fini(&b);
}

static void put_file(const char *dir, const char *path, int second)
{
    char whole[512];
    (void)snprintf(whole, sizeof whole, "%s/%s", dir, path);
    for (char *p = whole + strlen(dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(whole, 0700);
        *p = '/';
    }
    int fd = open(whole, O_CREAT | O_WRONLY, 0600);
    assert_true(fd != -1);
    struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};
    assert_int_equal(futimens(fd, times), 0);
    (void)close(fd);
}

static void count_folder(void *arg, const char *path)
{
    size_t *n = arg;
    assert_true(path[0] == '.');
    (*n)++;
}

/* Folders of another depth, links, and what is not delivery's are passed over. */
static void folders_are_walked(void **state)
{
    UNUSED(state);
    char dir[] = "/tmp/waxwing-box-XXXXXX", link[512];
    assert_non_null(mkdtemp(dir));
    put_file(dir, "d/u/new/" FILE_OF(ID_2), 1);
    put_file(dir, "d/u/cur/" FILE_OF(ID_1) ":2,S", 2);
    put_file(dir, "d/u/tmp/" FILE_OF(ID_9), 3);
    put_file(dir, "d/u/new/deep/" FILE_OF(ID_9), 4);
    put_file(dir, "d/new/" FILE_OF(ID_9), 5);
    put_file(dir, FILE_OF(ID_9), 6);
    put_file(dir, "d/.hidden/new/" FILE_OF(ID_9), 7);
    (void)snprintf(link, sizeof link, "%s/d/linked", dir);
    assert_int_equal(symlink("u", link), 0);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    struct box b;
    size_t n_folders = 0;
    assert_int_equal(box_scan(&b, fd, count_folder, &n_folders), ERR_OK);
    assert_int_equal(b.n_messages, 2);
    assert_true(b.messages[0].id == 2 && b.messages[1].id == 1); /* as they were made */
    assert_string_equal(b.messages[0].copies[0].path.p, "d/u/new/" FILE_OF(ID_2));
    assert_true(n_folders >= 5); /* ., d, u, new, cur */
    box_fini(&b);
    (void)close(fd);
    (void)snprintf(link, sizeof link, "%s/none", dir);
    assert_int_equal(box_scan(&b, -1, NULL, NULL), ERR_IO);
    box_fini(&b);
    static const char *const made[] = {
        "d/u/new/" FILE_OF(ID_2),
        "d/u/cur/" FILE_OF(ID_1) ":2,S",
        "d/u/tmp/" FILE_OF(ID_9),
        "d/u/new/deep/" FILE_OF(ID_9),
        "d/u/new/deep",
        "d/u/new",
        "d/u/cur",
        "d/u/tmp",
        "d/u",
        "d/new/" FILE_OF(ID_9),
        "d/new",
        FILE_OF(ID_9),
        "d/.hidden/new/" FILE_OF(ID_9),
        "d/.hidden/new",
        "d/.hidden",
        "d/linked",
        "d",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        (void)snprintf(link, sizeof link, "%s/%s", dir, made[i]);
        assert_int_equal(remove(link), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(head_is_taken_off),
        cmocka_unit_test(files_of_one_id_are_one_message),
        cmocka_unit_test(folders_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
