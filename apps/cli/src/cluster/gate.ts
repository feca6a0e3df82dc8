/** How devices get into a cluster with certificates: its authority, the join server, and one code after another. */
import {
  createClusterAuthority,
  type Identity,
  type JoinCode,
  type JoinEvent,
  startJoinServer,
} from '@distredge/runtime';
import { onEnd } from '../lifecycle.js';
import { answerRevocations } from './revoking.js';
import { authorityFolder } from './secure.js';

export interface Gate {
  /** The controller's own. */
  readonly identity: Identity;
  /**
   * Lets devices join at `listen`, each with a code of its own: whenever one is used up or has expired, the next one is told.
   * Rejects with `ADDRESS_IN_USE`.
   */
  admit(listen: string, tell: (code: JoinCode) => void, log: (line: string) => void): Promise<void>;
}

/** What a code's end is told by. */
function sentence(event: JoinEvent): string {
  if (event.type === 'refused') return `${event.remote} was refused: ${event.message}`;
  const what = event.type === 'joined' ? 'has joined' : 'has a new certificate';
  return `${event.deviceName} at ${event.remote} ${what} (${event.deviceId})`;
}

/** Opens the authority of a cluster, or founds the cluster. */
export async function openGate(cluster: string): Promise<Gate> {
  const authority = await createClusterAuthority(authorityFolder(cluster), { clusterName: cluster });
  return {
    identity: authority.identity,
    async admit(listen, tell, log) {
      let timer: NodeJS.Timeout | undefined;
      const next = (): void => {
        clearTimeout(timer);
        const code = authority.issueCode();
        tell(code);
        timer = setTimeout(next, Math.max(1000, code.expires - Date.now()));
      };
      const server = await startJoinServer({
        authority,
        listen,
        onEvent: (event) => {
          log(sentence(event));
          // A code that is used up, or that too many guesses ended, lets nobody in any more.
          if (event.type === 'joined' || (event.type === 'refused' && event.reason === 'code-dead')) next();
        },
      });
      await answerRevocations(cluster, authority, log);
      onEnd(async () => {
        clearTimeout(timer);
        await server.close();
      });
      next();
    },
  };
}
