export { errnoName, errnoNumber, errnoText } from "./errno.ts";
export { SystemError, check, cstring, errno, libc, ptr, syscall } from "./libc.ts";
export {
  bindReserved,
  boundPort,
  closeDescriptor,
  connectUnix,
  formatEndpoint,
  listenTcp,
  receiveDescriptor,
  sendDescriptors,
  socketPair,
  type ReceivedMessage,
} from "./sockets.ts";
