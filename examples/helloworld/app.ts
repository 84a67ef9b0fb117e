import { hostname } from "node:os";

Bun.serve({
  port: 80,
  fetch() {
    const name = Bun.escapeHTML(process.env.NAME ?? "world");
    const page = `<h3>Hello ${name}!</h3><b>Hostname:</b> ${Bun.escapeHTML(hostname())}<br/>`;
    return new Response(page, { headers: { "Content-Type": "text/html; charset=utf-8" } });
  },
});

// The program is PID 1 of its container: the kernel delivers it only signals that it handles.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
console.log("Listening on port 80");
