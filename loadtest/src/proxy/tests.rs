use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);
/// For what must not come: long against loopback's microseconds.
const A_WHILE: Duration = Duration::from_millis(50);

/// A server that sends back what it gets, and a proxy in front.
async fn echo() -> (Proxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    (Proxy::start(any, address).await.unwrap(), tasks)
}

async fn answer(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn check_echo(stream: &mut TcpStream, word: [u8; 4]) {
    stream.write_all(&word).await.unwrap();
    let heard = timeout(SOON, answer(stream)).await.unwrap().unwrap();
    assert_eq!(heard, word);
}

#[tokio::test]
async fn stalled_connection_stands_and_delivers_when_it_may() {
    for way in [Way::Stalled, Way::OnlyToServer, Way::OnlyToClient] {
        let (proxy, _echo) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        check_echo(&mut stream, *b"open").await;
        proxy.set(way);
        stream.write_all(b"wait").await.unwrap();
        let heard = timeout(A_WHILE, answer(&mut stream)).await;
        assert!(heard.is_err(), "{way:?} carries nothing: {heard:?}");
        proxy.set(Way::Open);
        let heard = timeout(SOON, answer(&mut stream)).await.unwrap().unwrap();
        assert_eq!(&heard, b"wait", "{way:?}");
    }
}

#[tokio::test]
async fn cut_resets_what_stands_and_what_comes_until_it_is_open_again() {
    let (proxy, _echo) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    check_echo(&mut stream, *b"open").await;
    proxy.set(Way::Cut);
    let ended = timeout(SOON, answer(&mut stream)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    let ended = timeout(SOON, answer(&mut refused)).await.unwrap();
    assert!(ended.is_err());
    proxy.set(Way::Open);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    check_echo(&mut stream, *b"back").await;
}

#[tokio::test]
async fn delayed_bytes_keep_their_order_and_come_later() {
    let (proxy, _echo) = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    check_echo(&mut stream, *b"open").await;
    let delay = Duration::from_millis(30);
    proxy.set(Way::Delayed(delay));
    let began = Instant::now();
    check_echo(&mut stream, *b"slow").await;
    check_echo(&mut stream, *b"then").await;
    // Both directions, twice.
    assert!(began.elapsed() >= delay * 4, "{:?}", began.elapsed());
}
