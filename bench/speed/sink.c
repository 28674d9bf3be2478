/* sink: takes every message and keeps none. Prints its port, serves until it is killed.
 *
 * One thread and poll(2), so that a benchmark on two processors measures the client. It announces PIPELINING, and
 * answers whatever it is told; only DATA and the lone dot change what it expects. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64, INPUT = 1 << 16, OUTPUT = 1 << 14 };

struct client {
    char input[INPUT];
    size_t filled;
    int in_content;
};

static struct pollfd polled[CLIENTS + 1];
static struct client clients[CLIENTS + 1];
static char output[OUTPUT];
static size_t written;

static void say(const char *reply) {
    size_t length = strlen(reply);
    if (written + length <= OUTPUT) {
        memcpy(output + written, reply, length);
        written += length;
    }
}

/* Answers one line without its line feed; 1 when the connection is over. */
static int answer(struct client *client, const char *line) {
    if (client->in_content) {
        if (strcmp(line, ".\r") == 0) {
            client->in_content = 0;
            say("250 2.0.0 taken\r\n");
        }
    } else if (strncasecmp(line, "DATA", 4) == 0) {
        client->in_content = 1;
        say("354 go on\r\n");
    } else if (strncasecmp(line, "EHLO", 4) == 0) {
        say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    } else if (strncasecmp(line, "QUIT", 4) == 0) {
        say("221 2.0.0 bye\r\n");
        return 1;
    } else {
        say("250 2.0.0 ok\r\n");
    }
    return 0;
}

/* Reads what is there and answers each whole line; 1 when the connection is over. */
static int serve(int socket, struct client *client) {
    ssize_t got = read(socket, client->input + client->filled, INPUT - client->filled);
    if (got <= 0)
        return 1;
    client->filled += (size_t)got;
    written = 0;
    char *start = client->input, *end = client->input + client->filled, *feed;
    int is_over = 0;
    while (!is_over && (feed = memchr(start, '\n', (size_t)(end - start)))) {
        *feed = 0;
        is_over = answer(client, start);
        start = feed + 1;
    }
    client->filled = (size_t)(end - start);
    memmove(client->input, start, client->filled);
    if (written && write(socket, output, written) < 0)
        return 1;
    return is_over || client->filled == INPUT;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (void *)&address, length) || listen(listener, CLIENTS) ||
        getsockname(listener, (void *)&address, &length)) {
        perror("sink");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 1; i <= CLIENTS; i++)
        polled[i].fd = -1;
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        poll(polled, CLIENTS + 1, -1);
        for (int i = 1; i <= CLIENTS; i++)
            if (polled[i].fd >= 0 && polled[i].revents && serve(polled[i].fd, &clients[i])) {
                close(polled[i].fd);
                polled[i].fd = -1;
            }
        if (polled[0].revents) {
            int client = accept(listener, NULL, NULL), i = 1;
            while (i <= CLIENTS && polled[i].fd >= 0)
                i++;
            if (client >= 0 && i <= CLIENTS) {
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                polled[i] = (struct pollfd){.fd = client, .events = POLLIN};
                clients[i].filled = 0;
                clients[i].in_content = 0;
                if (write(client, "220 sink.test ESMTP\r\n", 21) < 0)
                    polled[i].fd = -1;
            } else if (client >= 0) {
                close(client);
            }
        }
    }
}
