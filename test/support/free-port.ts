import { createServer, type AddressInfo } from "node:net";

/** A TCP port of 127.0.0.1 on which nothing listens. Whoever uses it soon has it most likely for itself. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
