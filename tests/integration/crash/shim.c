/* Stands between a process and the calls by which it changes a disk (LD_PRELOAD).
 *
 * Nothing happens until the process itself calls shim_arm(). From then on each call that changes something below one
 * folder is counted; before the n-th the process dies, or the call fails with an error, or only half of a write is done
 * and then it dies. Calls that succeeded can be written to a trace, with their data, from which a test replays what a
 * disk may hold after the power went.
 *
 * A record of the trace: one line of fields (see `note`), paths quoted by their lengths; after a write its data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PATHS 8192

enum { OFF, COUNT, DIE, FAIL, TEAR };

static int mode, error_given, sticky, trace = -1, seen_bad;
static long at, counted, failed;
static char root[PATHS];
static char last[64];

/* Count calls below `folder` from now on. `n`: the call to harm, from 1. `keep_on`: all calls after it fail too. */
void shim_arm(const char *folder, int what, long n, int error, int keep_on, int trace_to) {
    snprintf(root, sizeof root, "%s", folder);
    mode = what, at = n, error_given = error, sticky = keep_on, trace = trace_to;
    counted = failed = seen_bad = 0;
}
long shim_counted(void) { return counted; }
long shim_failed(void) { return failed; }
long shim_unmodelled(void) { return seen_bad; }
/* Name of the call that was harmed or, before that, of the last one counted. */
const char *shim_last(void) { return last; }

static int below(const char *path) {
    size_t n = strlen(root);
    return n && !strncmp(path, root, n) && (path[n] == '/' || !path[n]);
}

static void path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATHS - 1);
    out[n < 0 ? 0 : n] = 0;
}

static void absolute(int dir, const char *path, char *out) {
    char base[PATHS] = "";
    if (path[0] != '/') {
        if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
        else path_of(dir, base);
        strncat(base, "/", sizeof base - strlen(base) - 1);
    }
    size_t n = strlen(base);
    memcpy(out, base, n);
    snprintf(out + n, PATHS - n, "%s", path);
}

static void note(const char *fields, const char *a, const char *b, const void *data, size_t size) {
    if (trace < 0) return;
    char line[2 * PATHS + 256];
    int n = snprintf(line, sizeof line, "%s %zu %zu %zu\n%s%s", fields, strlen(a), strlen(b), size, a, b);
    REAL(write)(trace, line, (size_t)n);
    if (size) REAL(write)(trace, data, size);
}

/* Which calls an error can come from. */
static int can_give(const char *call) {
    int makes = !strncmp(call, "open", 4) || !strcmp(call, "mkdir");
    int names = makes || !strcmp(call, "rename") || !strcmp(call, "unlink") || !strcmp(call, "rmdir");
    int data = strstr(call, "write") || strstr(call, "sync") || !strcmp(call, "ftruncate");
    switch (error_given) {
    case EMFILE: return !strncmp(call, "open", 4);
    case EACCES: return names;
    case ENOSPC: return (makes && strcmp(call, "open to read")) || data || !strcmp(call, "rename");
    default: return names || data;
    }
}

/* Count a call. It goes on (0), fails with errno set (1), or half of it is done before the process dies (2). */
static int refused(const char *call) {
    if (mode == OFF || (mode == FAIL && !can_give(call))) return 0;
    counted++;
    if (mode != COUNT && counted > at && !(mode == FAIL && sticky)) return 0;
    snprintf(last, sizeof last, "%s", call);
    if (mode == COUNT || counted < at) return 0;
    if (mode == TEAR && strstr(call, "write")) return 2;
    if (mode != FAIL) kill(getpid(), SIGKILL);
    failed++;
    errno = error_given;
    return 1;
}

static unsigned long inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static int opened(int dir, const char *path, int flags, mode_t bits) {
    char where[PATHS];
    __typeof__(&openat) real = REAL(openat);
    if (mode == OFF) return real(dir, path, flags, bits);
    absolute(dir, path, where);
    if (!below(where)) return real(dir, path, flags, bits);
    int changes = flags & (O_CREAT | O_TRUNC);
    /* opening to read changes nothing: it can fail, and then it counts */
    if ((mode == FAIL || changes) && refused(changes ? "open" : "open to read")) return -1;
    struct stat before;
    int existed = !fstatat(dir, path, &before, 0);
    int fd = real(dir, path, flags, bits);
    if (fd >= 0 && changes) {
        char fields[96];
        snprintf(fields, sizeof fields, "open %d %lu", existed ? 0 : 1, inode_of(fd));
        note(fields, where, "", NULL, 0);
        if (existed && flags & O_TRUNC) {
            snprintf(fields, sizeof fields, "truncate 0 %lu", inode_of(fd));
            note(fields, "", "", NULL, 0);
        }
    }
    return fd;
}

static int is_watched(int fd, char *where) {
    if (mode == OFF || fd == trace) return 0;
    path_of(fd, where);
    return below(where);
}

static ssize_t written(const char *call, int fd, const void *data, size_t size, off_t offset, int moves) {
    char where[PATHS], fields[96];
    __typeof__(&write) real = REAL(write);
    __typeof__(&pwrite64) real_at = REAL(pwrite64);
    if (!is_watched(fd, where)) return moves ? real(fd, data, size) : real_at(fd, data, size, offset);
    int no = refused(call);
    if (no == 1) return -1;
    if (no == 2) {
        if (moves) real(fd, data, size / 2); else real_at(fd, data, size / 2, offset);
        kill(getpid(), SIGKILL);
    }
    if (moves) offset = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t n = moves ? real(fd, data, size) : real_at(fd, data, size, offset);
    if (n > 0) {
        snprintf(fields, sizeof fields, "write %ld %lu", (long)offset, inode_of(fd));
        note(fields, where, "", data, (size_t)n);
    }
    return n;
}

static int on_file(const char *call, int fd, const char *fields, int (*real)(int)) {
    char where[PATHS];
    if (!is_watched(fd, where)) return real(fd);
    if (refused(call)) return -1;
    char line[96];
    snprintf(line, sizeof line, "%s 0 %lu", fields, inode_of(fd));
    int done = real(fd);
    if (!done) note(line, where, "", NULL, 0);
    return done;
}

/* Calls on one name, or on two. */
#define ON_NAMES(call, dir_a, path_a, dir_b, path_b, action)                  \
    char a[PATHS] = "", b[PATHS] = "";                                        \
    if (mode == OFF) return action;                                           \
    absolute(dir_a, path_a, a);                                               \
    if (dir_b != NO_NAME) absolute(dir_b, path_b, b);                         \
    if (!below(a) && !below(b)) return action;                                \
    if (refused(call)) return -1;                                             \
    int done = action;                                                        \
    if (!done) note(call " 0 0", a, b, NULL, 0);                              \
    return done;
#define NO_NAME (-1)
#define ON_NAME(call, dir, path, action) ON_NAMES(call, dir, path, NO_NAME, "", action)

int open(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t bits = va_arg(more, mode_t); va_end(more);
    return opened(AT_FDCWD, path, flags, bits);
}
int open64(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t bits = va_arg(more, mode_t); va_end(more);
    return opened(AT_FDCWD, path, flags, bits);
}
int openat64(int dir, const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t bits = va_arg(more, mode_t); va_end(more);
    return opened(dir, path, flags, bits);
}
ssize_t write(int fd, const void *data, size_t size) { return written("write", fd, data, size, 0, 1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at_) { return written("pwrite", fd, data, size, at_, 0); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at_) { return written("pwrite", fd, data, size, at_, 0); }
int fsync(int fd) { return on_file("fsync", fd, "sync", REAL(fsync)); }
int fdatasync(int fd) { return on_file("fdatasync", fd, "sync", REAL(fdatasync)); }

static int cut(int fd, off_t size) {
    char where[PATHS], fields[96];
    __typeof__(&ftruncate) real = REAL(ftruncate);
    if (!is_watched(fd, where)) return real(fd, size);
    if (refused("ftruncate")) return -1;
    int done = real(fd, size);
    snprintf(fields, sizeof fields, "truncate %ld %lu", (long)size, inode_of(fd));
    if (!done) note(fields, where, "", NULL, 0);
    return done;
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

int rename(const char *from, const char *to) {
    ON_NAMES("rename", AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to))
}
int renameat(int dir_a, const char *from, int dir_b, const char *to) {
    ON_NAMES("rename", dir_a, from, dir_b, to, REAL(renameat)(dir_a, from, dir_b, to))
}
int link(const char *from, const char *to) { ON_NAMES("link", AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to)) }
int unlink(const char *path) { ON_NAME("unlink", AT_FDCWD, path, REAL(unlink)(path)) }
int rmdir(const char *path) { ON_NAME("rmdir", AT_FDCWD, path, REAL(rmdir)(path)) }
int unlinkat(int dir, const char *path, int flags) {
    if (flags & AT_REMOVEDIR) { ON_NAME("rmdir", dir, path, REAL(unlinkat)(dir, path, flags)) }
    ON_NAME("unlink", dir, path, REAL(unlinkat)(dir, path, flags))
}
int mkdir(const char *path, mode_t bits) { ON_NAME("mkdir", AT_FDCWD, path, REAL(mkdir)(path, bits)) }
int mkdirat(int dir, const char *path, mode_t bits) { ON_NAME("mkdir", dir, path, REAL(mkdirat)(dir, path, bits)) }
int flock(int fd, int how) {
    char where[PATHS];
    if (!is_watched(fd, where)) return REAL(flock)(fd, how);
    return refused("flock") ? -1 : REAL(flock)(fd, how);
}

/* What the model of a disk does not know yet: whoever starts to use one of these is told by shim_unmodelled(). */
static void unmodelled(int fd, const char *call) {
    char where[PATHS];
    if (is_watched(fd, where)) { seen_bad++; snprintf(last, sizeof last, "%s", call); }
}
ssize_t copy_file_range(int a, off64_t *at_a, int b, off64_t *at_b, size_t n, unsigned flags) {
    unmodelled(b, "copy_file_range");
    return REAL(copy_file_range)(a, at_a, b, at_b, n, flags);
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t n) {
    unmodelled(out, "sendfile");
    return REAL(sendfile64)(out, in, from, n);
}
ssize_t writev(int fd, const struct iovec *parts, int n) { unmodelled(fd, "writev"); return REAL(writev)(fd, parts, n); }
static void mapped(int bits, int flags, int fd) {
    if (bits & PROT_WRITE && flags & MAP_SHARED && fd >= 0) unmodelled(fd, "mmap");
}
void *mmap(void *to, size_t n, int bits, int flags, int fd, off_t from) {
    mapped(bits, flags, fd);
    return REAL(mmap)(to, n, bits, flags, fd, from);
}
void *mmap64(void *to, size_t n, int bits, int flags, int fd, off64_t from) {
    mapped(bits, flags, fd);
    return REAL(mmap64)(to, n, bits, flags, fd, from);
}
