export { errnoName, errnoNumber, errnoText } from "./errno.ts";
export { SystemError, check, cstring, errno, libc, ptr, syscall } from "./libc.ts";
