//! The clients, as a process of their own: they connect, join, and read everything away.

use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The other process: it connects, joins, and reads everything away.
pub(crate) struct Clients {
    child: Child,
    received: Arc<AtomicU64>,
}

impl Clients {
    pub(crate) fn start(addr: SocketAddr, count: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("we run"))
            .args(["client", &addr.to_string(), &count.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let lines = BufReader::new(child.stdout.take().expect("is piped"));
        let received = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&received);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                told.store(line.parse().expect("a number"), Ordering::Relaxed);
            }
        });
        Self { child, received }
    }

    /// Bytes received by all clients.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn wait_for(&self, bytes: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.received() < bytes {
            assert!(
                Instant::now() < deadline,
                "{} of {bytes} bytes",
                self.received()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Bytes received once no more come.
    pub(crate) fn settled(&self) -> u64 {
        let (mut last, mut since) = (self.received(), Instant::now());
        while since.elapsed() < Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(10));
            if self.received() != last {
                (last, since) = (self.received(), Instant::now());
            }
        }
        last
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It ends by itself when its connections do; this is only sooner.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this process was started as the clients; it then was them until its end.
pub(crate) fn run_as_client() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, mode, addr, count] if mode == "client" => {
            client(
                addr.parse().expect("an address"),
                count.parse().expect("a number"),
            );
            true
        }
        _ => false,
    }
}

thread_local! {
    /// All clients read into this.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

fn client(addr: SocketAddr, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let local = tokio::task::LocalSet::new();
    let received = Rc::new(Cell::new(0_u64));
    for n in 0..count {
        let mut stream = TcpStream::connect(addr).expect("the server listens");
        let request = format!(
            "GET /v1/ws?name=user{n} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        let join = br#"{"id":"1","join":{"room":"room"}}"#;
        // Masked with the key 0.
        let mut frame = vec![0x81, 0x80 | join.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(join);
        stream.write_all(&frame).expect("the server reads");
        stream.set_nonblocking(true).expect("is a socket");
        let received = Rc::clone(&received);
        local.spawn_local(async move {
            let stream = tokio::net::TcpStream::from_std(stream).expect("is a socket");
            loop {
                stream.readable().await.expect("is registered");
                match BUFFER.with_borrow_mut(|buffer| stream.try_read(buffer)) {
                    Ok(0) => return,
                    Ok(bytes) => received.set(received.get() + bytes as u64),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        });
    }
    local.block_on(&runtime.expect("a runtime starts"), async move {
        let mut told = u64::MAX;
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tick.tick().await;
            if received.get() != told {
                told = received.get();
                println!("{told}");
            }
        }
    });
}
