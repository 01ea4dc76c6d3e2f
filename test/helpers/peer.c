/* Who is it that I hear from? For machines without a runtime, and for SCTP, which runtimes do not speak.
 *   peer serve PORT               answers over TCP, UDP and SCTP with the client's address
 *   peer ask PROTOCOL HOST PORT   prints the answer, or "none" where it is refused or after ten seconds
 * Ten: SCTP's answer may overtake the end of the handshake on a busy machine. It is dropped then, and sent again after
 * RTO.Initial, three seconds (RFC 9260, sections 5.1 and 16).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const struct {
  const char *name;
  int type, protocol;
} protocols[] = {{"tcp", SOCK_STREAM, IPPROTO_TCP}, {"udp", SOCK_DGRAM, IPPROTO_UDP}, {"sctp", SOCK_STREAM, IPPROTO_SCTP}};

static void serve(int type, int protocol, int port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  int socket_ = socket(AF_INET6, type, protocol);
  if (socket_ < 0 || bind(socket_, (struct sockaddr *)&address, sizeof address)) perror("serve"), exit(1);
  if (type == SOCK_STREAM) listen(socket_, 16);
  if (fork()) return;
  for (;;) {
    struct sockaddr_in6 client;
    socklen_t length = sizeof client;
    char text[64] = "", *plain = text;
    int talk = socket_;
    if (type == SOCK_STREAM) talk = accept(socket_, (struct sockaddr *)&client, &length);
    else recvfrom(socket_, text, sizeof text, 0, (struct sockaddr *)&client, &length);
    inet_ntop(AF_INET6, &client.sin6_addr, text, sizeof text);
    if (!strncmp(text, "::ffff:", 7)) plain += 7;
    if (type == SOCK_STREAM) send(talk, plain, strlen(plain), 0), close(talk);
    else sendto(talk, plain, strlen(plain), 0, (struct sockaddr *)&client, length);
  }
}

static int ask(int type, int protocol, const char *host, int port) {
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
  int is_six = inet_pton(AF_INET6, host, &six.sin6_addr) == 1;
  if (!is_six) inet_pton(AF_INET, host, &four.sin_addr);
  int socket_ = socket(is_six ? AF_INET6 : AF_INET, type, protocol);
  struct timeval limit = {.tv_sec = 10};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  char text[64] = "";
  int failed = connect(socket_, is_six ? (void *)&six : (void *)&four, is_six ? sizeof six : sizeof four);
  if (!failed && type == SOCK_DGRAM) failed = send(socket_, "?", 1, 0) != 1;
  puts(!failed && recv(socket_, text, sizeof text - 1, 0) > 0 ? text : "none");
  return 0;
}

int main(int count, char **words) {
  int serving = count == 3 && !strcmp(words[1], "serve");
  if (!serving && (count != 5 || strcmp(words[1], "ask"))) return 2;
  for (unsigned at = 0; at < sizeof protocols / sizeof *protocols; at++) {
    if (serving) serve(protocols[at].type, protocols[at].protocol, atoi(words[2]));
    else if (!strcmp(words[2], protocols[at].name))
      return ask(protocols[at].type, protocols[at].protocol, words[3], atoi(words[4]));
  }
  return serving ? 0 : 2;
}
