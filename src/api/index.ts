export { createServer, type ApiServer, type ServerOptions } from "./server.ts";
