/* silent READY DIRECTORY MOUNT STOP: a file system in user space that shows the files of DIRECTORY below MOUNT, and answers
 * nothing any more once the file STOP is there: whoever asks then waits, and from Linux 2.6 to 6.18 not even SIGKILL ends
 * that before this program has ended. Writes READY when it is mounted. Needs root and /dev/fuse, else ends with status 77.
 * Speaks the protocol of linux/fuse.h itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nodes are paths below the directory, their number is the place in this table. */
static char *paths[4096];
static size_t known = 2;
static char request[1 << 18], reply[1 << 18];
static int device;

static uint64_t node_of(uint64_t parent, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", paths[parent], name) < 0)
        exit(1);
    for (size_t i = 1; i < known; i++)
        if (!strcmp(paths[i], path))
            return i;
    paths[known] = path;
    return known++;
}

static int attributes(uint64_t node, struct fuse_attr *to)
{
    struct stat stat;
    if (lstat(paths[node], &stat))
        return -errno;
    *to = (struct fuse_attr){.ino = node, .size = stat.st_size, .blocks = stat.st_blocks, .mode = stat.st_mode,
                             .nlink = 1, .uid = stat.st_uid, .gid = stat.st_gid, .blksize = 4096};
    return 0;
}

static void answer(uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header head = {.len = sizeof head + (error ? 0 : size), .error = error, .unique = unique};
    memcpy(reply, &head, sizeof head);
    memmove(reply + sizeof head, data, error ? 0 : size);
    if (write(device, reply, head.len) < 0 && errno != ENOENT)
        perror("silent: write");
}

static void serve(const struct fuse_in_header *in, const void *arguments)
{
    union { struct fuse_entry_out entry; struct fuse_attr_out attr; struct fuse_open_out open; struct fuse_init_out init; } out;
    static char data[1 << 17];
    memset(&out, 0, sizeof out);
    switch (in->opcode) {
    case FUSE_INIT: {
        const struct fuse_init_in *init = arguments;
        out.init = (struct fuse_init_out){.major = FUSE_KERNEL_VERSION, .minor = init->minor, .max_write = 4096, .max_readahead = 0};
        return answer(in->unique, 0, &out.init, sizeof out.init);
    }
    case FUSE_LOOKUP: {
        out.entry.nodeid = node_of(in->nodeid, arguments);
        int error = attributes(out.entry.nodeid, &out.entry.attr);
        return answer(in->unique, error, &out.entry, sizeof out.entry);
    }
    case FUSE_GETATTR: {
        int error = attributes(in->nodeid, &out.attr.attr);
        return answer(in->unique, error, &out.attr, sizeof out.attr);
    }
    case FUSE_READLINK: {
        ssize_t size = readlink(paths[in->nodeid], data, sizeof data);
        return answer(in->unique, size < 0 ? -errno : 0, data, size < 0 ? 0 : size);
    }
    case FUSE_OPEN: case FUSE_OPENDIR: {
        int file = open(paths[in->nodeid], O_RDONLY);
        out.open.fh = file;
        return answer(in->unique, file < 0 ? -errno : 0, &out.open, sizeof out.open);
    }
    case FUSE_READ: {
        const struct fuse_read_in *read = arguments;
        ssize_t size = pread(read->fh, data, read->size < sizeof data ? read->size : sizeof data, read->offset);
        return answer(in->unique, size < 0 ? -errno : 0, data, size < 0 ? 0 : size);
    }
    case FUSE_READDIR:
        return answer(in->unique, 0, data, 0);
    case FUSE_RELEASE: case FUSE_RELEASEDIR:
        close(((const struct fuse_release_in *)arguments)->fh);
        return answer(in->unique, 0, NULL, 0);
    case FUSE_FLUSH: case FUSE_ACCESS:
        return answer(in->unique, 0, NULL, 0);
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT:
        return;
    default:
        return answer(in->unique, -ENOSYS, NULL, 0);
    }
}

int main(int count, char **words)
{
    char options[100];
    if (count < 5)
        return 2;
    paths[1] = words[2];
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", device);
    if (device < 0 || mount("silent", words[3], "fuse", 0, options)) {
        perror("silent");
        return 77;
    }
    close(open(words[1], O_WRONLY | O_CREAT, 0600));
    for (;;) {
        ssize_t size = read(device, request, sizeof request);
        if (size < 0 && errno == ENODEV)
            return 0;
        if (size < (ssize_t)sizeof(struct fuse_in_header))
            continue;
        const struct fuse_in_header *in = (void *)request;
        if (access(words[4], F_OK))
            serve(in, in + 1);
        else
            fprintf(stderr, "silent: asked for opcode %u by %u\n", in->opcode, in->pid);
    }
}
