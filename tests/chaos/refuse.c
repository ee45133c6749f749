/* A file system that refuses: of all calls on files below one folder, counted from 1, some fail with an error number:
 * `times` from number `first` on; with a period so many of each period after it, but never one file twice, as a file
 * is read or written again from its start, and the copy of the code as a whole (names are compared without digits and a
 * to f, which number those on the way). aim(call, path), before refuse(): number `first` is counted among the calls
 * alone whose name and path match these patterns of the shell, and from there on among all; "" aims at none.
 * LD_PRELOAD=refuse.so, then refuse(folder, first, times, period, error); refused() says how many calls there were, and
 * record(fd, failed) has each, or each that failed, written to fd as a line: the call, a space, and the path. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[4096], told[4400];
static long first, times, period;
static int error_number, recorded_to = -1, only_failed;
static char aimed_call[64], aimed_path[4400];
static atomic_long calls, matching, hit; /* hit: the number of the first call that fails, where one is aimed at */
static atomic_char failed_before[1 << 16]; /* by hash of a name */
static atomic_char below[1 << 16]; /* whether a descriptor is of a file there */

void refuse(const char *under, long at, long how_often, long again, int error) {
    snprintf(folder, sizeof folder, "%s", under);
    first = at, times = how_often, period = again, error_number = error;
    atomic_store(&calls, 0), atomic_store(&matching, 0), atomic_store(&hit, 0);
    told[0] = 0;
}

void aim(const char *call, const char *path) {
    snprintf(aimed_call, sizeof aimed_call, "%s", call);
    snprintf(aimed_path, sizeof aimed_path, "%s", path);
}

long refused(void) { return atomic_load(&calls); }
const char *what(void) { return told; }

void record(int fd, int failed) { recorded_to = fd, only_failed = failed; }

/* The path of a call; `of_file` gives it room for that of a descriptor. */
static const char *path_of(const char *path, int fd, char of_file[4096]) {
    char link[64];
    if (path) return path;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, of_file, 4095);
    of_file[length > 0 ? length : 0] = 0;
    return of_file;
}

static int first_of(const char *path) {
    unsigned hash = 5381;
    const char *code = strstr(path, "/shared/.code-"), *end = code ? code : path + strlen(path);
    for (; path < end; path++)
        if (!strchr("0123456789abcdef", *path)) hash = hash * 33 + (unsigned char)*path;
    return !atomic_exchange(&failed_before[hash % (1 << 16)], 1);
}

static void write_down(const char *name, const char *path) {
    char line[4400];
    int length = snprintf(line, sizeof line, "%s %s\n", name, path);
    syscall(SYS_write, recorded_to, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
}

static int there(const char *path) {
    return folder[0] && path && !strncmp(path, folder, strlen(folder));
}

/* How many calls after the first that fails this one is; negative before it. */
static long place_of(const char *name, const char *path, int fd, char of_file[4096]) {
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (!aimed_call[0]) return number - first;
    if (atomic_load(&hit)) return number - atomic_load(&hit);
    if (fnmatch(aimed_call, name, 0) || fnmatch(aimed_path, path_of(path, fd, of_file), 0)) return -1;
    if (atomic_fetch_add(&matching, 1) + 1 < first) return -1;
    atomic_store(&hit, number);
    return 0;
}

static int fails(const char *name, const char *path, int fd) {
    char of_file[4096];
    long after = place_of(name, path, fd, of_file);
    int failed = first > 0 && after >= 0 && (period ? after % period : after) < times;
    if (failed && period) failed = first_of(path_of(path, fd, of_file));
    if (recorded_to >= 0 && (failed || !only_failed)) write_down(name, path_of(path, fd, of_file));
    if (!failed) return 0;
    if (!told[0]) snprintf(told, sizeof told, "%s %s", name, path ? path : "");
    errno = error_number;
    return 1;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define OF_PATH(result, name, path, bad, declared, ...)                      \
    result name declared {                                                   \
        if (there(path) && fails(#name, path, -1)) return bad;                   \
        return REAL(name)(__VA_ARGS__);                                      \
    }
#define OF_FILE(result, name, declared, ...)                                 \
    result name declared {                                                   \
        if (fd >= 0 && fd < 1 << 16 && below[fd] && fails(#name, NULL, fd)) return -1; \
        return REAL(name)(__VA_ARGS__);                                      \
    }
#define OPENS(name, at, ...)                                                 \
    int name(at const char *path, int flags, ...) {                          \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                        \
        int ours = there(path);                                              \
        if (ours && fails(#name, path, -1)) return -1;                           \
        int fd = REAL(name)(__VA_ARGS__);                                    \
        if (fd >= 0 && fd < 1 << 16) below[fd] = ours;                       \
        return fd;                                                           \
    }
#define COMMA ,

OPENS(open, , path, flags, mode)
OPENS(open64, , path, flags, mode)
OPENS(openat, int at COMMA, at, path, flags, mode)
OPENS(openat64, int at COMMA, at, path, flags, mode)

int close(int fd) {
    if (fd >= 0 && fd < 1 << 16) below[fd] = 0;
    return REAL(close)(fd);
}

OF_FILE(ssize_t, read, (int fd, void *to, size_t n), fd, to, n)
OF_FILE(ssize_t, pread, (int fd, void *to, size_t n, off_t at), fd, to, n, at)
OF_FILE(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), fd, to, n, at)
OF_FILE(ssize_t, write, (int fd, const void *from, size_t n), fd, from, n)
OF_FILE(int, fsync, (int fd), fd)
OF_PATH(int, stat, path, -1, (const char *path, struct stat *to), path, to)
OF_PATH(int, stat64, path, -1, (const char *path, struct stat64 *to), path, to)
OF_PATH(int, lstat, path, -1, (const char *path, struct stat *to), path, to)
OF_PATH(int, lstat64, path, -1, (const char *path, struct stat64 *to), path, to)
OF_PATH(int, fstatat, path, -1, (int at, const char *path, struct stat *to, int flags), at, path, to, flags)
OF_PATH(int, fstatat64, path, -1, (int at, const char *path, struct stat64 *to, int flags), at, path, to, flags)
OF_PATH(DIR *, opendir, path, NULL, (const char *path), path)
OF_PATH(int, mkdir, path, -1, (const char *path, mode_t mode), path, mode)
OF_PATH(int, rmdir, path, -1, (const char *path), path)
OF_PATH(int, unlink, path, -1, (const char *path), path)
OF_PATH(int, link, path, -1, (const char *path, const char *to), path, to)
OF_PATH(int, rename, path, -1, (const char *path, const char *to), path, to)
