/* sink: takes every message and keeps none. Prints its port, serves until it is killed.
 *
 * One thread and poll(2), so that a benchmark on two processors measures the client. It announces PIPELINING and
 * CHUNKING, and answers whatever it is told; only DATA, BDAT and the lone dot change what it expects. `XCOUNT` is
 * answered with what it has taken so far, on how many connections.
 *
 * `sink nagle` writes each reply alone and leaves Nagle's algorithm on, `sink plain` announces neither PIPELINING nor
 * CHUNKING, and `sink unchained` refuses commands that came together with a final dot. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64, INPUT = 1 << 16, OUTPUT = 1 << 14 };

struct client {
    char input[INPUT];
    size_t filled;
    size_t chunk_left; /* of BDAT */
    int in_content, is_last_chunk, has_sent;
};

static struct pollfd polled[CLIENTS + 1];
static struct client clients[CLIENTS + 1];
static char output[OUTPUT];
static size_t written;
static int is_nagle, is_plain, is_unchained;
static int writes_to;
static unsigned long message_count, connection_count; /* connections that brought a message */

static void say(const char *reply) {
    size_t length = strlen(reply);
    if (is_nagle) {
        if (write(writes_to, reply, length) < 0)
            return; /* the next read finds out */
        return;
    }
    if (written + length <= OUTPUT) {
        memcpy(output + written, reply, length);
        written += length;
    }
}

static void take(struct client *client) {
    message_count++;
    connection_count += !client->has_sent;
    client->has_sent = 1;
    say("250 2.0.0 taken\r\n");
}

static void end_chunk(struct client *client) {
    if (client->is_last_chunk)
        take(client);
    else
        say("250 2.0.0 ok\r\n");
}

/* Answers one line without its line feed; 1 when the connection is over. */
static int answer(struct client *client, const char *line) {
    if (client->in_content) {
        if (strcmp(line, ".\r") == 0) {
            client->in_content = 0;
            take(client);
        }
    } else if (strncasecmp(line, "DATA", 4) == 0) {
        client->in_content = 1;
        say("354 go on\r\n");
    } else if (strncasecmp(line, "BDAT ", 5) == 0) {
        client->chunk_left = strtoul(line + 5, NULL, 10);
        client->is_last_chunk = strcasestr(line, "LAST") != NULL;
        if (!client->chunk_left)
            end_chunk(client);
    } else if (strncasecmp(line, "EHLO", 4) == 0) {
        say(is_plain ? "250-sink.test\r\n250 8BITMIME\r\n" : "250-sink.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    } else if (strncasecmp(line, "AUTH", 4) == 0) {
        say("235 2.7.0 welcome\r\n");
    } else if (strncasecmp(line, "XCOUNT", 6) == 0) {
        char counts[64];
        snprintf(counts, sizeof counts, "250 %lu %lu\r\n", message_count, connection_count);
        say(counts);
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
    writes_to = socket;
    int has_ended = 0;
    char *start = client->input, *end = client->input + client->filled, *feed;
    int is_over = 0;
    while (!is_over) {
        if (client->chunk_left) {
            size_t here = (size_t)(end - start) < client->chunk_left ? (size_t)(end - start) : client->chunk_left;
            start += here;
            client->chunk_left -= here;
            if (client->chunk_left)
                break;
            end_chunk(client);
        }
        if (!(feed = memchr(start, '\n', (size_t)(end - start))))
            break;
        *feed = 0;
        int was_in_content = client->in_content;
        if (is_unchained && has_ended && !was_in_content)
            say("503 5.5.1 one message at a time\r\n");
        else
            is_over = answer(client, start);
        has_ended |= was_in_content && !client->in_content;
        start = feed + 1;
    }
    client->filled = (size_t)(end - start);
    memmove(client->input, start, client->filled);
    if (written && write(socket, output, written) < 0)
        return 1;
    return is_over || client->filled == INPUT;
}

int main(int count, char **words) {
    is_nagle = count > 1 && !strcmp(words[1], "nagle");
    is_plain = count > 1 && !strcmp(words[1], "plain");
    is_unchained = count > 1 && !strcmp(words[1], "unchained");
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
                if (!is_nagle)
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                polled[i] = (struct pollfd){.fd = client, .events = POLLIN};
                clients[i].filled = 0;
                clients[i].chunk_left = 0;
                clients[i].in_content = clients[i].is_last_chunk = clients[i].has_sent = 0;
                if (write(client, "220 sink.test ESMTP\r\n", 21) < 0)
                    polled[i].fd = -1;
            } else if (client >= 0) {
                close(client);
            }
        }
    }
}
