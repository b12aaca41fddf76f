/** A cluster of real processes over the NATS and the database that scripts/services has started. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { eventually } from './person.mjs';
import { Server, binary } from './server.mjs';

/** What is missing here for a cluster; empty: nothing. */
export function missing() {
  const names = ['ROOKERY_TEST_NATS', 'ROOKERY_TEST_CQL'];
  return names.filter((name) => !process.env[name]).join(', ');
}

export class Cluster {
  /** @type {Server[]} */ nodes = [];
  /** @type {Server[]} */ gateways = [];

  static async start({ nodes, gateways }) {
    const cluster = new Cluster();
    // Names of our own, so that runs on one database and one NATS do not meet.
    const name = `browser_${Date.now().toString(36)}_${process.pid}`;
    const nats = ['--nats', process.env.ROOKERY_TEST_NATS, '--set', `nats.subject_prefix=${name}`];
    const database = ['--cql', process.env.ROOKERY_TEST_CQL, '--set', `cql.keyspace=${name}`];
    try {
      await promisify(execFile)(binary(), ['migrate', ...database, '--set', 'cql.replication=1']);
      for (let number = 1; number <= nodes; number += 1) {
        const flags = ['--role', 'rooms,presence', '--node', `n${number}`, ...nats, ...database];
        cluster.nodes.push(await Server.start(flags));
      }
      for (let number = 1; number <= gateways; number += 1) {
        cluster.gateways.push(await Server.start(['--role', 'gateway', '--node', `g${number}`, ...nats]));
      }
      for (const server of [...cluster.nodes, ...cluster.gateways]) {
        await eventually('the process is ready', () => server.isReady());
      }
    } catch (error) {
      await cluster.end();
      throw error;
    }
    return cluster;
  }

  /** The node that woke a room under the largest epoch. */
  owner(room) {
    const epoch = (node) => Math.max(-1, ...node.log
      .filter((line) => line.includes('room awake') && line.includes(`room.id=${room} `))
      .map((line) => Number(/room\.epoch=(\d+)/u.exec(line)?.[1] ?? -1)));
    return this.nodes.reduce((best, node) => (epoch(node) > epoch(best) ? node : best));
  }

  async end() {
    for (const server of [...this.gateways, ...this.nodes]) await server.end();
  }
}
