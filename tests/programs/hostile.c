/* hostile READY MODE [FILE|PID]: looks like CPython 3.13 and means no good. Exports `_PyRuntime` with a table of offsets as
 * Include/internal/pycore_debug_offsets.h has it, but with structs of its own. Writes READY when all is in place.
 *
 *   plain         as it should be: `victim` in `hostile.py` at line 7, else the other modes would prove nothing
 *   interpreters, threads, frames   lists that lead back to their own beginning
 *   long          three million frames
 *   lengths       names and line tables whose lengths are 2^63 - 1
 *   sizes         the same, 2^40, and where they are is a gigabyte that can be read
 *   offsets       a table whose entries are all 2^64 - 1
 *   guarded       a name on a page that cannot be read
 *   truncated     a name in a file that is cut off before it
 *   silent        a name on a page that userfaultfd(2) has to provide, and does not
 *   later         half a second of good behaviour, then the innermost frame is on such a page
 *   unserved      a name on a page of FILE, which is on a file system that does not answer (silent.c)
 *   stranger      says that its thread is PID, which is somebody else
 *   many          a new function with a name of 60,000 bytes every few microseconds
 *   escapes       names of what terminals and formats take for something else
 *   changing      pointers that change all the time
 *   library       maps an ELF file called `libpython3.13.so.1.0` that exports nothing
 *   mappings      100,000 mappings, files with newlines and `libpython` in their names among them
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef volatile uint64_t word;

struct type { word head[3]; const char *volatile name; };
struct text { word head[2], length, unused; uint32_t state, unused2; char data[65536]; };
struct bytes { word head[2], size, unused; char data[16]; };
struct code { word count; void *volatile type, *volatile file, *volatile name, *volatile lines; int32_t first; uint32_t version; word names, unused; char bytecode[64]; };
struct frame { void *volatile previous, *volatile code, *volatile instruction; volatile uint8_t owner; char room[500]; };
struct gil { word enabled; int32_t locked, unused; void *volatile holder; };
struct interpreter { void *volatile next, *volatile threads; word id; void *volatile gil; struct gil own; };
struct thread { void *volatile next, *volatile interpreter; struct frame *volatile frame; word ident, native; uint32_t status; };
struct runtime { word table[111]; void *volatile interpreters; };

#define AT(type, field) __builtin_offsetof(struct type, field)
struct runtime _PyRuntime = {.table = {
    [0] = 0x7970677562656478, [1] = 0x030d00f0,
    [3] = sizeof(struct runtime), [5] = AT(runtime, interpreters),
    [6] = sizeof(struct interpreter), [7] = AT(interpreter, id), [8] = AT(interpreter, next), [9] = AT(interpreter, threads),
    [14] = AT(interpreter, gil), [15] = AT(interpreter, own), [16] = AT(interpreter, own.enabled), [17] = AT(interpreter, own.locked),
    [18] = AT(interpreter, own.holder),
    [19] = sizeof(struct thread), [21] = AT(thread, next), [22] = AT(thread, interpreter), [23] = AT(thread, frame),
    [24] = AT(thread, ident), [25] = AT(thread, native), [27] = AT(thread, status),
    [28] = sizeof(struct frame), [29] = AT(frame, previous), [30] = AT(frame, code), [31] = AT(frame, instruction), [33] = AT(frame, owner),
    [34] = sizeof(struct code), [35] = AT(code, file), [37] = AT(code, name), [38] = AT(code, lines), [39] = AT(code, first),
    [41] = AT(code, names), [43] = AT(code, bytecode),
    [44] = 16, [45] = 8, [46] = sizeof(struct type), [47] = AT(type, name),
    [64] = sizeof(struct bytes), [65] = AT(bytes, size), [66] = AT(bytes, data),
    [67] = 4096, [68] = AT(text, state), [69] = AT(text, length), [70] = AT(text, data),
}};

static struct type code_type = {.name = "code"};
static struct bytes lines = {.size = 2, .data = {(char)0xef, 0}}; /* eight units, no columns, line + 0 */
static struct text file, names[2];
static struct code codes[2];
static struct frame frames[4];
static struct interpreter interpreters[2];
static struct thread threads[2];

static void say(struct text *text, const char *data, size_t length)
{
    text->length = length;
    text->state = 1 << 2 | 1 << 5 | 1 << 6; /* one byte a character, compact, ASCII */
    memcpy(text->data, data, length);
}

static void prepare(void)
{
    say(&file, "hostile.py", 10);
    say(&names[0], "main", 4);
    say(&names[1], "victim", 6);
    for (int i = 0; i < 2; i++)
        codes[i] = (struct code){.type = &code_type, .file = &file, .name = &names[i], .lines = &lines, .first = 6 + i, .version = 5 + i};
    frames[0] = (struct frame){.owner = 3};
    for (int i = 0; i < 2; i++)
        frames[1 + i] = (struct frame){.previous = &frames[i], .code = &codes[i], .instruction = codes[i].bytecode};
    struct gil *gil = &interpreters[0].own;
    gil->enabled = 1, gil->locked = 1, gil->holder = &threads[0];
    interpreters[0].gil = gil, interpreters[0].threads = &threads[0];
    threads[0] = (struct thread){.interpreter = &interpreters[0], .frame = &frames[2], .ident = 1, .native = getpid(), .status = 1 << 4};
    _PyRuntime.interpreters = &interpreters[0];
}

static char *map(size_t bytes, int rights)
{
    char *memory = mmap(NULL, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        exit(77);
    return memory;
}

static void endless(void)
{
    size_t count = 3000000;
    struct frame *many = (struct frame *)map(count * sizeof(struct frame), PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < count; i++)
        many[i].previous = &many[i + 1], many[i].code = &codes[i & 1], many[i].instruction = codes[i & 1].bytecode;
    threads[0].frame = many;
}

/* Nobody ever says what is on this page. */
static void silence(char *page)
{
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register area = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &area))
        exit(77);
    madvise(page, 4096, MADV_DONTNEED);
}

/* A name of which the first page can be read; what is behind it is up to `kind`. */
static struct text *split(char kind, const char *path)
{
    char *memory;
    if (kind == 't') {
        int fd = memfd_create("cut", 0);
        if (ftruncate(fd, 8192))
            exit(77);
        memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (ftruncate(fd, 4096))
            exit(77);
    } else {
        memory = map(8192, PROT_READ | PROT_WRITE);
        mprotect(memory + 4096, 4096, kind == 'g' ? PROT_NONE : PROT_READ | PROT_WRITE);
    }
    if (kind == 'u' && mmap(memory + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, open(path, O_RDONLY), 0) == MAP_FAILED)
        exit(77);
    struct text *text = (struct text *)memory;
    text->length = 6000, text->state = 1 << 2 | 1 << 5 | 1 << 6;
    memset(text->data, 'n', 4096 - AT(text, data));
    if (kind == 's')
        silence(memory + 4096);
    return text;
}

static const char *const escapes[] = {
    "\033]0;owned\007\033[2J\033[31m", "a;b;c 5\nforged 9", "</script><script>alert(1)</script>", "\"]}'\\\"<!--&amp;",
    "\rover", "\x9b""2J\x90\x9d", "%s%n%d", "${x}`y`",
};

static void *change(void *argument)
{
    const char *mode = argument;
    unsigned state = 1;
    for (size_t i = 0;; i++) {
        state = state * 1664525 + 1013904223;
        void *places[] = {&frames[state >> 8 & 3], &codes[state & 1], (void *)(uintptr_t)(state * 4096ul), NULL, &threads[0], &names[1]};
        void *place = places[(state >> 16) % 6];
        if (mode[0] == 'e') {
            const char *name = escapes[i % (sizeof escapes / sizeof *escapes)];
            names[1].length = 0;
            say(&names[1], name, strlen(name));
            file.data[0] = name[0];
            usleep(20000);
            codes[1].version++;
        } else if (mode[0] == 'm') {
            for (int k = 0; k < 60000; k += 8)
                memcpy(names[1].data + k, &i, 8);
            names[1].length = 60000;
            codes[1].version++;
            usleep(500);
        } else {
            frames[state >> 10 & 3].previous = place;
            frames[state >> 12 & 3].code = place;
            names[state & 1].length = state >> 14;
            threads[0].next = state & 1 << 20 ? place : NULL;
            codes[1].lines = state & 1 << 21 ? place : &lines;
            if (i % 64 == 0)
                prepare();
        }
    }
    return NULL;
}

static void many_mappings(void)
{
    static const char *const odd[] = {"./libpython3.8.so\n7f0000000000-7f0000001000 r--p 00000000 00:01 7 \n.so", "./libpython\033[31m3.9;.so", "./\n\n\n"};
    char *page = map(4096, PROT_READ | PROT_WRITE);
    memcpy(page, "\177ELF\2\1\1", 7);
    for (int i = 0; i < 3; i++) {
        int fd = open(odd[i], O_RDWR | O_CREAT, 0600);
        if (fd < 0 || write(fd, page, 4096) != 4096)
            exit(77);
        for (int k = 0; k < 100; k++)
            mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        close(fd);
    }
    /* As many as the kernel allows, vm.max_map_count: neighbours differ, so that they are not joined. */
    char *memory = map(200000ul * 4096, PROT_NONE);
    for (size_t i = 0; i < 50000; i++)
        if (mprotect(memory + 8192 * i, 4096, PROT_READ))
            break;
}

static void map_library(void)
{
    /* The beginning of this program, with one program header: PT_LOAD, of the whole. */
    uint64_t image[512], header[] = {1 | 5ul << 32, 0, 0, 0, 4096, 4096, 4096};
    int self = open("/proc/self/exe", O_RDONLY), fd = open("libpython3.13.so.1.0", O_RDWR | O_CREAT, 0600);
    if (read(self, image, 4096) != 4096)
        exit(77);
    image[4] = 64, ((uint16_t *)image)[28] = 1;
    memcpy(&image[8], header, sizeof header);
    if (write(fd, image, 4096) != 4096 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        exit(77);
}

int main(int count, char **arguments)
{
    const char *mode = count > 2 ? arguments[2] : "plain";
    pthread_t thread;
    prepare();
    if (!strcmp(mode, "interpreters"))
        interpreters[0].next = &interpreters[1], interpreters[1] = interpreters[0], interpreters[1].next = &interpreters[0];
    if (!strcmp(mode, "threads"))
        threads[0].next = &threads[1], threads[1] = threads[0], threads[1].next = &threads[0];
    if (!strcmp(mode, "frames"))
        frames[1].previous = &frames[2];
    if (!strcmp(mode, "long"))
        endless();
    if (!strcmp(mode, "lengths"))
        names[1].length = lines.size = INT64_MAX;
    if (!strcmp(mode, "sizes")) {
        struct text *huge = (struct text *)map(1ul << 30, PROT_READ | PROT_WRITE);
        huge->length = 1ul << 40, huge->state = names[0].state;
        codes[1].name = codes[1].file = huge;
        lines.size = 1ul << 40;
    }
    if (!strcmp(mode, "offsets"))
        for (int i = 3; i < 111; i++)
            _PyRuntime.table[i] = UINT64_MAX;
    if (!strcmp(mode, "guarded") || !strcmp(mode, "truncated") || !strcmp(mode, "silent") || !strcmp(mode, "unserved"))
        codes[1].name = split(mode[0], count > 3 ? arguments[3] : NULL);
    if (!strcmp(mode, "library"))
        map_library();
    if (!strcmp(mode, "stranger"))
        threads[0].native = strtoull(arguments[3], NULL, 10);
    if (!strcmp(mode, "mappings"))
        many_mappings();
    if (!strcmp(mode, "many") || !strcmp(mode, "escapes") || !strcmp(mode, "changing"))
        pthread_create(&thread, NULL, change, (void *)mode);
    if (!strcmp(mode, "later")) {
        threads[0].frame = (struct frame *)map(4096, PROT_READ | PROT_WRITE);
        *threads[0].frame = frames[2];
    }
    close(open(arguments[1], O_WRONLY | O_CREAT, 0600));
    if (!strcmp(mode, "later")) {
        usleep(500000);
        silence((char *)threads[0].frame);
    }
    for (;;)
        if (mode[0] == 's' || mode[0] == 'u')
            pause();
}
