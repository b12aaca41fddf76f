//! A device that was cut off while its user left a room on another device: coming back does not
//! make a member.

use anyhow::Result;
use rookery_loadtest::{
    client::{Client, ConnectOptions, Encoding, Incoming, command},
    replica::Replica,
    server::Server,
};
use rookery_proto::{
    errors::Code,
    v1::{self, event::Body},
};

use crate::start;

const ROOM: &str = "lab";

async fn connect(server: &Server, name: &str, encoding: Encoding) -> Result<(Client, Incoming)> {
    let options = ConnectOptions::named(server.address(), name).encoding(encoding);
    Ok(Client::connect(&options).await?)
}

/// What the log says of the members, event by event.
fn memberships(log: &[v1::Event]) -> Vec<&'static str> {
    let said = log.iter().map(|event| match &event.body {
        Some(Body::RoomOpened(_)) => "opened",
        Some(Body::MemberJoined(_)) => "joined",
        Some(Body::MemberLeft(_)) => "left",
        _ => "other",
    });
    said.collect()
}

/// Resumes where `replica` stands, which must be refused, and the room be the user's no more.
async fn check_refused(bob: &Client, replica: &mut Replica) -> Result<()> {
    let refused = bob.resume(replica).await.err();
    let code = refused.and_then(|refused| refused.code());
    assert_eq!(code, Some(Code::NotMember));
    assert_eq!(bob.rooms().await?, [], "the connection lives");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_resumes_after_its_user_left_elsewhere_is_no_member_again() -> Result<()> {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let (_folder, mut server) = start(&[]).await?;
        let (ada, _ada_in) = connect(&server, "ada", encoding).await?;
        ada.create(command::create_group(ROOM, true, &[], "c1"))
            .await?;
        let (phone, _phone_in) = connect(&server, "bob", encoding).await?;
        let (laptop, _laptop_in) = connect(&server, "bob", encoding).await?;
        let mut replica = Replica::new(ROOM);
        let joined = phone.join(command::join_after(ROOM, 0)).await?;
        replica.join(&joined, Some(0));
        phone.cut();
        laptop.call(command::leave(ROOM, false)).await?;

        let (phone, _phone_in) = connect(&server, "bob", encoding).await?;
        check_refused(&phone, &mut replica).await?;
        // The rows say the same as the memory did.
        server.terminate().await?;
        server.restart().await?;
        let (phone, _phone_in) = connect(&server, "bob", encoding).await?;
        check_refused(&phone, &mut replica).await?;
        let (ada, _ada_in) = connect(&server, "ada", encoding).await?;
        let log = ada.whole_log(ROOM).await?;
        assert_eq!(memberships(&log), ["opened", "joined", "left"]);
        let room = ada.join(command::resume(ROOM, 3)).await?.room;
        assert_eq!(room.unwrap_or_default().member_count, 1);

        // Who asks to be let in is.
        let joined = phone
            .join(command::join_after(ROOM, replica.head()))
            .await?;
        replica.join(&joined, Some(replica.head()));
        let log = ada.whole_log(ROOM).await?;
        assert_eq!(memberships(&log), ["opened", "joined", "left", "joined"]);
        phone.resume(&mut replica).await?;
        assert_eq!(replica.head(), 4);
    }
    Ok(())
}
