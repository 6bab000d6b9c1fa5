/* What build.py adds to the program that PyInstaller puts before ours in the executable, and compiles with its sources.
 *
 * That program unpacks into a temporary folder, starts ours, passes signals on to it, and removes the folder. A signal
 * that comes while it unpacks or removes would end it, and the folder would stay, as it does where a file cannot be
 * written; and it takes a temporary folder that nothing can be run from, or that is full. So the linker finds the
 * functions below with OURS before them here, and not in the C library: signals wait while there is a folder and nobody
 * to pass them to, a folder is only made where programs may run and have room, and goes where nothing was started from
 * it. Then one sentence says what to do. In what is started, Ctrl-C waits until the launcher in build.py lets it come,
 * as Python would tell of it line by line while it begins. What a terminal sends reaches both programs once both are
 * there, but for its hanging up, and is not passed on to be a second Ctrl-C.
 */
#ifndef _WIN32

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "pyi_archive.h"
#include "pyi_main.h"
#include "pyi_path.h"
#include "pyi_utils.h"

#define OURS __attribute__((visibility("hidden")))
#define FROM_C_LIBRARY(type, name) ((type)dlsym(RTLD_NEXT, name))
#define EXIT_NO_PLACE 3
#define PIECE (1 << 16)

typedef void (*handler)(int);
typedef char *(*maker)(char *);
typedef FILE *(*opener)(const char *, const char *);
typedef size_t (*writer)(const void *, size_t, size_t, FILE *);
typedef int (*closer)(FILE *);
typedef pid_t (*forker)(void);

static const int ENDING[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
static const size_t ENDINGS = sizeof ENDING / sizeof ENDING[0];

static handler pass_on = SIG_DFL;  /* what that program has done with a signal */
static char refused[PYI_PATH_MAX + 96] = "";  /* what speaks against the first folder that was refused */
static char filled[PYI_PATH_MAX] = "";  /* the folder that was made */
static int failure = 0;  /* why a file in it could not be written */
static bool is_started = false;  /* our program was, and its starter removes the folder */
static bool leads_session = false;  /* a terminal that hangs up tells us alone */

static sigset_t
those_that_end(void)
{
    sigset_t found;
    size_t place;

    sigemptyset(&found);
    for (place = 0; place < ENDINGS; place++) {
        sigaddset(&found, ENDING[place]);
    }
    return found;
}

static void
have_signals_wait(void)
{
    sigset_t ending = those_that_end();

    sigprocmask(SIG_BLOCK, &ending, NULL);
}

static void
let_signals_come(void)
{
    sigset_t ending = those_that_end();

    sigprocmask(SIG_UNBLOCK, &ending, NULL);
}

static void
let_all_but_ctrl_c_come(void)
{
    sigset_t ending = those_that_end();

    sigdelset(&ending, SIGINT);
    sigprocmask(SIG_UNBLOCK, &ending, NULL);
}

/* Return the folder that a path lies in, until the next call. */
static const char *
parent_of(const char *path)
{
    static char parent[PYI_PATH_MAX];

    pyi_path_dirname(parent, path);
    return parent;
}

/* Have what is said to stderr wait: that program says of a refused folder only that it could not be made. */
static void
have_words_wait(void)
{
    static char waiting[BUFSIZ];

    setvbuf(stderr, waiting, _IOFBF, sizeof waiting);
}

static void
let_words_come(void)
{
    fflush(stderr);
    setvbuf(stderr, NULL, _IONBF, 0);
}

static void
say_that_there_is_no_place(void)
{
    __fpurge(stderr);
    fprintf(stderr, "promptry: ");
    if (refused[0]) {
        fprintf(stderr, "%s, and no other ", refused);
    } else {
        fprintf(stderr, "no ");
    }
    fprintf(stderr, "temporary folder can be unpacked into; TMPDIR names one that can.\n");
}

static void
say_that_it_failed(void)
{
    fprintf(stderr, "promptry: it could not be unpacked into %s", parent_of(filled));
    if (failure != 0) {
        fprintf(stderr, " (%s)", strerror(failure));
    }
    fprintf(stderr, "; TMPDIR names another folder.\n");
}

/* At the exit: where nothing was started, the folder goes, and one sentence says what to do. */
static void
clear_and_say(void)
{
    if (is_started) {
        return;
    }
    if (!filled[0]) {
        say_that_there_is_no_place();
    } else if (access(filled, F_OK) == 0) {
        pyi_recursive_rmdir(filled);
        say_that_it_failed();
    }
    fflush(NULL);
    _exit(EXIT_NO_PLACE);
}

/* Count the blocks that the files to unpack take, as the table of the archive has their sizes. */
static unsigned long long
blocks_to_unpack(unsigned long block)
{
    static const char unpacked[] = {
        ARCHIVE_ITEM_BINARY, ARCHIVE_ITEM_DATA, ARCHIVE_ITEM_ZIPFILE, ARCHIVE_ITEM_SYMLINK
    };
    const struct ARCHIVE *archive = global_pyi_ctx->archive;
    const struct TOC_ENTRY *entry;
    unsigned long long found = 0;

    for (entry = archive->toc; entry < archive->toc_end; entry = pyi_archive_next_toc_entry(archive, entry)) {
        if (memchr(unpacked, entry->typecode, sizeof unpacked)) {
            found += (entry->uncompressed_length + block - 1) / block;
        }
    }
    return found;
}

/* Tell whether there is room; a file system that counts no blocks has as much as it has. */
static bool
has_room(const struct statvfs *facts, unsigned long long *needed)
{
    unsigned long long left = geteuid() == 0 ? facts->f_bfree : facts->f_bavail;

    if (facts->f_blocks == 0 || facts->f_frsize == 0) {
        return true;
    }
    *needed = blocks_to_unpack(facts->f_frsize);
    return *needed <= left;
}

/* Tell whether programs may be run in the folder that a new one is to lie in, and have room in it. */
static bool
may_unpack_beside(const char *path)
{
    struct statvfs facts;
    unsigned long long needed = 0;
    char said[sizeof refused] = "";

    if (statvfs(parent_of(path), &facts) != 0) {
        return true;
    }
    if (facts.f_flag & ST_NOEXEC) {
        snprintf(said, sizeof said, "no program can be run from %s (it is mounted noexec)", parent_of(path));
    } else if (!has_room(&facts, &needed)) {
        needed = (needed * facts.f_frsize + 999999) / 1000000;
        snprintf(said, sizeof said, "no room to unpack into %s (%llu MB are needed)", parent_of(path), needed);
    }
    if (said[0] && !refused[0]) {
        strcpy(refused, said);
    }
    return !said[0];
}

/* Before the first folder: what a child returns comes to who waits for it, also where who started us ignored it. */
static void
begin(void)
{
    static bool has_begun = false;
    struct sigaction usual;

    if (!has_begun) {
        memset(&usual, 0, sizeof usual);
        usual.sa_handler = SIG_DFL;
        sigaction(SIGCHLD, &usual, NULL);
        atexit(clear_and_say);
        has_begun = true;
    }
}

OURS char *
mkdtemp(char *template)
{
    char *made = NULL;

    begin();
    have_words_wait();
    if (!may_unpack_beside(template)) {
        errno = EACCES;
        return NULL;
    }
    have_signals_wait();
    made = FROM_C_LIBRARY(maker, "mkdtemp")(template);
    if (made == NULL) {
        let_signals_come();
        return NULL;
    }
    snprintf(filled, sizeof filled, "%s", made);
    let_words_come();
    return made;
}

static bool
is_unpacked_to(FILE *file)
{
    return filled[0] && !is_started && file != stderr;
}

/* The archive and the file that is unpacked from it are the two that are open then: they are copied in larger pieces. */
OURS FILE *
fopen(const char *path, const char *mode)
{
    static char pieces[2][PIECE];
    FILE *file = FROM_C_LIBRARY(opener, "fopen")(path, mode);

    if (file != NULL && is_unpacked_to(file)) {
        setvbuf(file, pieces[mode[0] == 'w'], _IOFBF, PIECE);
    }
    return file;
}

/* A file that is not whole ends the start: that program would go on where only the last bytes have no room. */
OURS int
fclose(FILE *file)
{
    bool is_ours = is_unpacked_to(file);
    int failed = FROM_C_LIBRARY(closer, "fclose")(file);

    if (is_ours) {
        if (failed && failure == 0) {
            failure = errno;
        }
        if (failure != 0) {
            exit(EXIT_NO_PLACE);
        }
    }
    return failed;
}

OURS size_t
fwrite(const void *bytes, size_t size, size_t count, FILE *file)
{
    static writer write_all = NULL;
    size_t written;

    if (write_all == NULL) {
        write_all = FROM_C_LIBRARY(writer, "fwrite");
    }
    written = write_all(bytes, size, count, file);
    if (written < count && is_unpacked_to(file)) {
        failure = errno;
        fclose(file);
    }
    return written;
}

/* Give a new program what came before it was there and waits here, as a terminal told it nothing of that. What it gets
 * twice is one to it: it does not go on before signals come here again, and its Ctrl-C waits even longer.
 */
static void
hand_over_to(pid_t child)
{
    sigset_t waiting;
    size_t place;

    sigpending(&waiting);
    for (place = 0; place < ENDINGS; place++) {
        if (sigismember(&waiting, ENDING[place])) {
            kill(child, ENDING[place]);
        }
    }
}

OURS pid_t
fork(void)
{
    pid_t child = FROM_C_LIBRARY(forker, "fork")();

    is_started = child >= 0;
    leads_session = getsid(0) == getpid();
    if (child == 0) {
        let_all_but_ctrl_c_come();
    } else if (child > 0) {
        hand_over_to(child);
    }
    return child;
}

static void
pass_on_but_of_terminal(int number, siginfo_t *facts, void *context)
{
    (void)context;
    if (facts->si_code != SI_KERNEL || (number == SIGHUP && leads_session)) {
        pass_on(number);
    }
}

/* Signals come while there is somebody to pass them to: from here, and no longer than to the next default. */
OURS handler
signal(int number, handler wanted)
{
    struct sigaction now, before;
    sigset_t one;

    memset(&now, 0, sizeof now);
    sigemptyset(&now.sa_mask);
    if (wanted == SIG_DFL) {
        have_signals_wait();
        now.sa_handler = SIG_DFL;
    } else {
        pass_on = wanted;
        now.sa_sigaction = pass_on_but_of_terminal;
        now.sa_flags = SA_RESTART | SA_SIGINFO;
    }
    if (sigaction(number, &now, &before) != 0) {
        return SIG_ERR;
    }
    if (wanted != SIG_DFL) {
        sigemptyset(&one);
        sigaddset(&one, number);
        sigprocmask(SIG_UNBLOCK, &one, NULL);
    }
    return SIG_DFL;  /* nobody asks what was before */
}

/* The folder is gone: the program ends by the signal that ended ours. */
OURS int
raise(int number)
{
    let_signals_come();
    return kill(getpid(), number);
}

#endif
