/* The action: reports when its first instruction ran, and for which node. Arguments: socket, and the node if
   it is not in the environment, where `etcdctl watch` puts it between quotes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc < 2)
		return 2;

	char *node = argc > 2 ? argv[2] : getenv("ETCD_WATCH_KEY");
	if (!node)
		return 2;
	if (*node == '"') {
		node++;
		node[strcspn(node, "\"")] = 0;
	}

	struct sockaddr_un socket_address = {.sun_family = AF_UNIX};
	strncpy(socket_address.sun_path, argv[1], sizeof socket_address.sun_path - 1);

	char message[1024];
	long long nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
	int length = snprintf(message, sizeof message, "%lld %s", nanoseconds, node);

	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	return sendto(fd, message, length, 0, (struct sockaddr *)&socket_address, sizeof socket_address) != length;
}
