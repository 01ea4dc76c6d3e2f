// Unary gRPC calls over a Unix socket.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";

/** A refusal by the server: the gRPC status number and its words. */
export class GrpcError extends Error {
  readonly status: number;
  constructor(method: string, status: number, message: string) {
    super(`Cannot call ${method}: ${message}`);
    this.status = status;
  }
}

export type Channel = {
  call(method: string, request: Uint8Array, timeout: number): Promise<Uint8Array>;
  close(): void;
};

/** Opens `socket`; calls fail with GrpcError, or with the connection's own error. */
export function openChannel(socket: string): Channel {
  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(socket) });
  let broken: Error | undefined;
  session.on("error", (error) => {
    broken = error;
  });
  const call = (method: string, request: Uint8Array, timeout: number) =>
    new Promise<Uint8Array>((resolve, reject) => {
      if (broken || session.destroyed) throw broken ?? new Error(`Cannot call ${method}: connection closed`);
      const stream = session.request({
        ":method": "POST",
        ":path": method,
        "content-type": "application/grpc",
        te: "trailers",
      });
      const chunks: Uint8Array[] = [];
      let ended: Record<string, unknown> = {};
      const late = setTimeout(() => {
        stream.close();
        reject(new Error(`Cannot call ${method}: no answer in ${timeout} ms`));
      }, timeout);
      const note = (headers: Record<string, unknown>) => {
        if (headers["grpc-status"] !== undefined) ended = headers;
      };
      stream.on("response", note); // an error may come as headers alone
      stream.on("trailers", note);
      stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      stream.on("error", (error) => {
        clearTimeout(late);
        reject(error);
      });
      stream.on("close", () => {
        clearTimeout(late);
        const status = Number(ended["grpc-status"] ?? 2);
        if (status === 0) return resolve(new Uint8Array(Buffer.concat(chunks).subarray(5))); // flag, length
        const words = ended["grpc-message"] ?? broken?.message ?? "connection closed before the answer";
        reject(new GrpcError(method, status, decodeURIComponent(String(words))));
      });
      const head = Buffer.alloc(5); // not compressed; length in network order
      head.writeUInt32BE(request.length, 1);
      stream.end(Buffer.concat([head, request]));
    });
  return { call, close: () => session.destroy() };
}
