// The kernel's share of a pod's network: the system calls that an ADD or DEL cannot do without, and nothing else.
// A static program, so that its own start is the cheapest there is. Message layouts: rtnetlink(7), linux/if_link.h, linux/veth.h.
//   floor empty
//   floor add NETNS BRIDGE HOSTVETH ADDRESS STATEFILE   one file, one veth pair, one /16 address, link up, default route
//   floor del NETNS BRIDGE HOSTVETH ADDRESS STATEFILE   returns when the kernel has unlisted the link; a child waits on
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[8192] __attribute__((aligned(4)));
static int used, sequence;
static struct nlmsghdr *message;

static int fail(const char *what) {
  dprintf(1, "%s: %s\n", what, strerror(errno));
  _exit(1);
}

static void begin(int type, int flags, const void *head, int size) {
  message = (struct nlmsghdr *)(buffer + used);
  memset(message, 0, NLMSG_LENGTH(size));
  *message = (struct nlmsghdr){NLMSG_LENGTH(size), type, NLM_F_REQUEST | NLM_F_ACK | flags, ++sequence, 0};
  memcpy(NLMSG_DATA(message), head, size);
  used = NLMSG_ALIGN(used + message->nlmsg_len);
}

static struct rtattr *put(int type, const void *value, int size) {
  struct rtattr *attribute = (struct rtattr *)(buffer + used);
  attribute->rta_type = type;
  attribute->rta_len = RTA_LENGTH(size);
  memcpy(RTA_DATA(attribute), value, size);
  used += RTA_SPACE(size);
  message->nlmsg_len = buffer + used - (char *)message;
  return attribute;
}

static void end(struct rtattr *nest) {
  nest->rta_len = buffer + used - (char *)nest;
}

static int netlink(int groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("netlink");
  return fd;
}

// Sends what was begun and takes one acknowledgement for each message.
static void commit(int fd, const char *what) {
  static char answer[16384] __attribute__((aligned(4)));
  int wanted = sequence;
  if (send(fd, buffer, used, 0) < 0) fail(what);
  for (used = 0; wanted > 0;) {
    int size = recv(fd, answer, sizeof answer, 0);
    if (size < 0) fail(what);
    for (struct nlmsghdr *m = (void *)answer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
      if (m->nlmsg_type != NLMSG_ERROR) continue;
      errno = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
      if (errno) fail(what);
      wanted--;
    }
  }
  sequence = 0;
}

static int add(const char *netns, const char *bridge, const char *host, const char *address, const char *state) {
  int file = open(state, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0 || write(file, "x", 1) != 1) fail(state);
  close(file);
  int pod = open(netns, O_RDONLY | O_CLOEXEC), master = if_nametoindex(bridge), fd = netlink(0);
  if (pod < 0 || !master) fail(netns);

  struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, none = {0};
  begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
  put(IFLA_IFNAME, host, strlen(host) + 1);
  put(IFLA_MASTER, &master, 4);
  struct rtattr *info = put(IFLA_LINKINFO, "", 0);
  put(IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = put(IFLA_INFO_DATA, "", 0);
  struct rtattr *peer = put(VETH_INFO_PEER, &none, sizeof none);
  put(IFLA_IFNAME, "eth0", 5);
  put(IFLA_NET_NS_FD, &pod, 4);
  end(peer), end(data), end(info);
  commit(fd, "veth");

  if (setns(pod, CLONE_NEWNET) < 0) fail("setns");
  int inside = netlink(0), index = if_nametoindex("eth0");
  struct in_addr ip, gateway;
  inet_aton(address, &ip);
  inet_aton("10.71.0.1", &gateway);
  struct ifaddrmsg local = {AF_INET, 16, 0, RT_SCOPE_UNIVERSE, index};
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &local, sizeof local);
  put(IFA_LOCAL, &ip, 4);
  up.ifi_index = index;
  begin(RTM_NEWLINK, 0, &up, sizeof up);
  struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST};
  begin(RTM_NEWROUTE, NLM_F_CREATE, &route, sizeof route);
  put(RTA_GATEWAY, &gateway, 4);
  commit(inside, "address, up, route");
  return 0;
}

static int del(const char *host, const char *state) {
  struct ifinfomsg link = {.ifi_index = if_nametoindex(host)};
  int fd = netlink(RTMGRP_LINK);
  if (!link.ifi_index) fail(host);
  begin(RTM_DELLINK, 0, &link, sizeof link);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    close_range(0, 2, 0);
    send(fd, buffer, used, 0);
    _exit(0);
  }
  for (;;) {
    int size = recv(fd, buffer, sizeof buffer, 0);
    if (size < 0) fail("recv");
    for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
      int *error = NLMSG_DATA(m);
      if (m->nlmsg_type == NLMSG_ERROR && *error) return errno = -*error, fail("delete");
      if (m->nlmsg_type == RTM_DELLINK && ((struct ifinfomsg *)NLMSG_DATA(m))->ifi_index == link.ifi_index)
        return unlink(state) < 0 ? fail(state) : 0;
    }
  }
}

int main(int count, char **words) {
  if (count == 7 && !strcmp(words[1], "add")) return add(words[2], words[3], words[4], words[5], words[6]);
  if (count == 7 && !strcmp(words[1], "del")) return del(words[4], words[6]);
  return 0;
}
