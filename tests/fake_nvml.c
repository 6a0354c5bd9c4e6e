/* The part of NVML that the project calls, on GPUs that a text file describes: the real pynvml loads this library.
 *
 * $FAKE_NVML_STATE is read again at every call, one thing a line:
 *   gpu  TOTAL USED UUID NAME     a GPU, in order of its index; sizes are MiB everywhere
 *   mig  TOTAL USED UUID NAME     a part of a GPU: known by UUID only
 *   proc GPU PID USED             a process that uses a GPU; its memory is a part of USED above
 *   fail FUNCTION CODE [GPU]      a call that fails, on every GPU or on one
 * A file $FAKE_NVML_STATE.d/GPU.PID.USED is a process as well, and its memory comes on top, for as long as it lives.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { GPUS = 64, PROCESSES = 256, FAILURES = 32, WORD = 96 };

typedef unsigned long long Bytes;
typedef struct { Bytes total, free, used; } Memory;
typedef struct { unsigned pid; Bytes memory; unsigned instance, compute_instance; } Process;
typedef struct { Bytes total, used; int is_part; char uuid[WORD], name[WORD]; } Gpu;
typedef struct { int gpu; unsigned pid; Bytes memory; } User;
typedef struct { char function[WORD]; int code, gpu; } Failure;

static int opened;
static Gpu gpus[GPUS];
static User users[PROCESSES];
static Failure failures[FAILURES];
static int gpu_count, user_count, failure_count;

static int is_alive(unsigned pid) {
    char path[64], state = 'R';
    if (kill((pid_t)pid, 0)) return 0;
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 'R';
        fclose(file);
    }
    return state != 'Z' && state != 'X'; /* memory goes back before the parent has reaped it */
}

static void read_line(const char *line) {
    Gpu gpu = {0};
    User user;
    Failure failure = {.gpu = -1};
    char kind[8];
    if (gpu_count < GPUS && sscanf(line, "%7s %llu %llu %95s %95[^\n]", kind, &gpu.total, &gpu.used, gpu.uuid, gpu.name) == 5
        && (!strcmp(kind, "gpu") || !strcmp(kind, "mig"))) {
        gpu.total <<= 20;
        gpu.used <<= 20;
        gpu.is_part = *kind == 'm';
        gpus[gpu_count++] = gpu;
    } else if (user_count < PROCESSES && sscanf(line, "proc %d %u %llu", &user.gpu, &user.pid, &user.memory) == 3) {
        user.memory <<= 20;
        users[user_count++] = user;
    } else if (failure_count < FAILURES && sscanf(line, "fail %95s %d %d", failure.function, &failure.code, &failure.gpu) >= 2) {
        failures[failure_count++] = failure;
    }
}

static void read_living(const char *state) {
    char path[4096];
    User user;
    struct dirent *entry;
    snprintf(path, sizeof path, "%s.d", state);
    DIR *directory = opendir(path);
    if (!directory) return;
    while ((entry = readdir(directory))) {
        if (user_count >= PROCESSES || sscanf(entry->d_name, "%d.%u.%llu", &user.gpu, &user.pid, &user.memory) != 3) continue;
        if (user.gpu < 0 || user.gpu >= gpu_count || !is_alive(user.pid)) continue;
        user.memory <<= 20;
        gpus[user.gpu].used += user.memory;
        users[user_count++] = user;
    }
    closedir(directory);
}

static void read_state(void) {
    char line[512];
    const char *state = getenv("FAKE_NVML_STATE");
    FILE *file = state ? fopen(state, "r") : NULL;
    gpu_count = user_count = failure_count = 0;
    if (!file) return;
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
    read_living(state);
}

static int failure_of(const char *function, int gpu) {
    if (!opened) return UNINITIALIZED;
    read_state();
    for (int i = 0; i < failure_count; i++)
        if (!strcmp(failures[i].function, function) && (failures[i].gpu < 0 || failures[i].gpu == gpu)) return failures[i].code;
    return SUCCESS;
}

/* A handle is the index of a GPU and one. */
#define ON_GPU(handle) \
    int gpu = (int)(size_t)(handle) - 1, code = failure_of(__func__, gpu); \
    if (code) return code; \
    if (gpu < 0 || gpu >= gpu_count) return INVALID_ARGUMENT;

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    opened++;
    int code = failure_of(__func__, -1);
    if (code) opened--;
    return code;
}

int nvmlShutdown(void) {
    int code = failure_of(__func__, -1);
    if (!code) opened--;
    return code;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the test";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = failure_of(__func__, -1);
    *count = 0;
    for (int i = 0; !code && i < gpu_count; i++) *count += !gpus[i].is_part;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int code = failure_of(__func__, (int)index);
    if (code) return code;
    if ((int)index >= gpu_count || gpus[index].is_part) return INVALID_ARGUMENT;
    *handle = (void *)(size_t)(index + 1);
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    int code = failure_of(__func__, -1);
    for (int i = 0; !code && i < gpu_count; i++)
        if (!strcmp(gpus[i].uuid, uuid)) {
            *handle = (void *)(size_t)(i + 1);
            return failure_of(__func__, i);
        }
    return code ? code : NOT_FOUND;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    ON_GPU(handle)
    snprintf(text, length, "%s", gpus[gpu].name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    ON_GPU(handle)
    snprintf(text, length, "%s", gpus[gpu].uuid);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    ON_GPU(handle)
    memory->total = gpus[gpu].total;
    memory->used = gpus[gpu].used > gpus[gpu].total ? gpus[gpu].total : gpus[gpu].used;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *found) {
    ON_GPU(handle)
    unsigned room = found ? *count : 0;
    *count = 0;
    for (int i = 0; i < user_count; i++) {
        if (users[i].gpu != gpu) continue;
        if (*count < room) found[*count] = (Process){users[i].pid, users[i].memory, 0xFFFFFFFF, 0xFFFFFFFF};
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, Process *found) {
    ON_GPU(handle)
    (void)found;
    *count = 0;
    return SUCCESS;
}
