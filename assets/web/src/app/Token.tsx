import { useState } from "react";
import { ApiError, keepToken, postJson } from "../api/client";
import { queries } from "../api/useRead";
import { ErrorBox } from "../parts/States";
import { Logo } from "./Shell";

/** A server that is not on this machine alone asks for its token; it is kept for this tab. */
export function Token({ onDone }: { onDone: () => void }) {
  const [token, setToken] = useState("");
  const [fault, setFault] = useState<ApiError | null>(null);
  const [asking, setAsking] = useState(false);
  return (
    <main className="alone">
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          setAsking(true);
          setFault(null);
          keepToken(token.trim());
          try {
            await postJson("/api/login", { token: token.trim() }); // the cookie lets files be saved by a link
            await queries.resetQueries();
            onDone();
          } catch (error) {
            setFault(
              error instanceof ApiError && error.status !== 401
                ? error
                : new ApiError(401, "unauthorized", "That is not this server's token.", "It stands in PROMPTRY_TOKEN where the server was started."),
            );
          }
          setAsking(false);
        }}
      >
        <p className="brand"><Logo />promptry</p>
        <h1>This server asks for its token.</h1>
        <p className="why">It is the value of <span className="mono">PROMPTRY_TOKEN</span> where <span className="mono">promptry dashboard</span> was started, and is kept in this browser until it is closed.</p>
        <label className="field">Token<input autoFocus type="password" autoComplete="current-password" required value={token} onChange={(event) => setToken(event.target.value)} /></label>
        <button className="btn go" disabled={asking}>Open</button>
        {fault && <ErrorBox error={fault} />}
      </form>
    </main>
  );
}
