/*
 * A wire between two network namespaces, with a delay, losses and a rate. Not every kernel has netem.
 *
 *   wire SERVER_NAMESPACE CLIENT_NAMESPACE DELAY_MS LOSS_PERCENT MBIT_PER_S
 *
 * Makes the TUN devices `server` and `client`, one in each namespace, prints `up`, and carries IPv4 packets between them
 * until standard input ends. Each address of the client's side, told apart by its last byte, has a line of its own in
 * each direction, with the delay, the losses and the rate of the arguments.
 *
 * Two bytes on standard input cut a line (`-` and the line's number) or mend it (`+` and the number). What is sent on a line
 * that is cut is lost without a word.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { DOWN, UP, DIRECTIONS }; /* DOWN: from the server to a client */
enum { LINES = 256, QUEUE_BYTES = 200000, BATCH = 256, MAX_PACKET = 65536 };

static const uint64_t SECOND = 1000000000ull;

struct packet {
    struct packet *next;
    uint64_t due;
    int size;
    unsigned char bytes[];
};

/* The packets under way on one line, in order. */
struct line {
    struct packet *first, *last;
    int queued;       /* bytes */
    uint64_t idle_at; /* when the last packet has left the sender, at the line's rate */
};

static struct line lines[DIRECTIONS][LINES];
static char is_cut[LINES];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Makes a device in a namespace. The process stays in that namespace; devices work wherever it is. */
static int make_device(const char *namespace, const char *name)
{
    char path[256];
    struct ifreq request = { 0 };
    int fd;

    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        fail(path);
    close(fd);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail("/dev/net/tun");
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        fail("TUNSETIFF");
    return fd;
}

/* Puts a packet on a line, unless the queue is full. */
static void enqueue(struct line *line, const unsigned char *bytes, int size, double delay, double rate)
{
    uint64_t time = now();
    uint64_t begins = line->idle_at > time ? line->idle_at : time;
    struct packet *packet;

    if (line->queued + size > QUEUE_BYTES)
        return;
    packet = malloc(sizeof *packet + (size_t)size);
    if (packet == NULL)
        fail("malloc");
    line->idle_at = begins + (uint64_t)(size * 8 / rate * (double)SECOND);
    packet->next = NULL;
    packet->due = line->idle_at + (uint64_t)(delay * (double)SECOND);
    packet->size = size;
    memcpy(packet->bytes, bytes, (size_t)size);
    if (line->last != NULL)
        line->last->next = packet;
    else
        line->first = packet;
    line->last = packet;
    line->queued += size;
}

/* Delivers what is due on a line. Returns when the next packet is due, or `otherwise`. */
static uint64_t deliver(struct line *line, int device, uint64_t time, uint64_t otherwise)
{
    while (line->first != NULL && line->first->due <= time) {
        struct packet *packet = line->first;

        line->first = packet->next;
        if (line->first == NULL)
            line->last = NULL;
        line->queued -= packet->size;
        /* A device that does not take a packet loses it, as a real one does. */
        if (write(device, packet->bytes, (size_t)packet->size) < 0) { }
        free(packet);
    }
    return line->first != NULL && line->first->due < otherwise ? line->first->due : otherwise;
}

/* Reads packets from a device and puts them on their lines. */
static void collect(int device, int direction, double delay, double loss, double rate)
{
    /* The last byte of the client's address: the destination of what comes from the server, else the source. */
    const int at = direction == DOWN ? 19 : 15;
    static unsigned char bytes[MAX_PACKET];

    for (int count = 0; count < BATCH; count++) {
        ssize_t size = read(device, bytes, sizeof bytes);

        if (size < 20)
            return;
        if (bytes[0] >> 4 == 4 && !is_cut[bytes[at]] && drand48() >= loss)
            enqueue(&lines[direction][bytes[at]], bytes, (int)size, delay, rate);
    }
}

int main(int argc, char **argv)
{
    int devices[DIRECTIONS];
    double delay, loss, rate;

    if (argc != 6) {
        fprintf(stderr, "usage: wire SERVER_NAMESPACE CLIENT_NAMESPACE DELAY_MS LOSS_PERCENT MBIT_PER_S\n");
        return 2;
    }
    delay = atof(argv[3]) / 1e3;
    loss = atof(argv[4]) / 1e2;
    rate = atof(argv[5]) * 1e6;
    devices[DOWN] = make_device(argv[1], "server");
    devices[UP] = make_device(argv[2], "client");
    srand48(7);
    puts("up");
    fflush(stdout);
    for (;;) {
        uint64_t time = now(), next = time + SECOND, wait;
        struct pollfd polled[] = {
            { .fd = devices[DOWN], .events = POLLIN },
            { .fd = devices[UP], .events = POLLIN },
            { .fd = 0, .events = POLLIN },
        };
        struct timespec timeout;

        for (int direction = 0; direction < DIRECTIONS; direction++)
            for (int number = 0; number < LINES; number++)
                next = deliver(&lines[direction][number], devices[!direction], time, next);
        time = now();
        wait = next > time ? next - time : 0;
        timeout = (struct timespec){ .tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND) };
        ppoll(polled, 3, &timeout, NULL);
        for (int direction = 0; direction < DIRECTIONS; direction++)
            if (polled[direction].revents)
                collect(devices[direction], direction, delay, loss, rate);
        if (polled[2].revents) {
            unsigned char command[2];

            if (read(0, command, sizeof command) != (ssize_t)sizeof command)
                return 0;
            is_cut[command[1]] = command[0] == '-';
        }
    }
}
