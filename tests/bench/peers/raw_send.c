// The limit: one send() per delivery, and nothing else. `raw_send PORT FRAME_BYTES`
//
// Every connection is told two bytes when it is taken. Each byte that a client says is one message: a WebSocket frame
// of FRAME_BYTES payload to every connection. There is no handshake and nothing is parsed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536, AT_ONCE = 1024 };

static int members[MOST], place_of[MOST], count;
static char frame[4 + 65536];

static void leave(int fd) {
    int last = members[--count];
    members[place_of[fd]] = last;
    place_of[last] = place_of[fd];
    close(fd);
}

static void deliver(size_t bytes) {
    for (int index = 0; index < count; index++) {
        if (send(members[index], frame, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes) {
            fprintf(stderr, "a receiver is too slow: %s\n", strerror(errno));
            exit(1);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3 || atoi(argv[2]) < 126 || atoi(argv[2]) > 65535) return 2;
    size_t payload = (size_t)atoi(argv[2]);
    frame[0] = (char)0x81, frame[1] = 126, frame[2] = (char)(payload >> 8), frame[3] = (char)payload;
    memset(frame + 4, 'x', payload);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, queue = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return 1;
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, events[AT_ONCE];
    epoll_ctl(queue, EPOLL_CTL_ADD, listener, &wanted);

    for (;;) {
        int ready = epoll_wait(queue, events, AT_ONCE, -1);
        for (int index = 0; index < ready; index++) {
            int fd = events[index].data.fd;
            if (fd == listener) {
                int fresh;
                while ((fresh = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fresh >= MOST) return 1;
                    setsockopt(fresh, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    wanted.data.fd = fresh;
                    epoll_ctl(queue, EPOLL_CTL_ADD, fresh, &wanted);
                    place_of[fresh] = count;
                    members[count++] = fresh;
                    send(fresh, "\x81\x00", 2, MSG_NOSIGNAL);
                }
                continue;
            }
            char said[256];
            ssize_t bytes = recv(fd, said, sizeof said, 0);
            if (bytes == 0 || (bytes < 0 && errno != EAGAIN)) leave(fd);
            for (; bytes > 0; bytes--) deliver(4 + payload);
        }
    }
}
