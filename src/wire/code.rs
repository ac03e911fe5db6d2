//! The numbers that say why: open sets, in which a newer peer's number is an answer, not an error.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A code of a newer peer.
            Unknown(u16),
        }

        impl $name {
            /// The number on the wire.
            pub fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* Self::Unknown(code) => code }
            }

            /// A short name for logs and metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* Self::Unknown(_) => "unknown" }
            }
        }

        impl From<u16> for $name {
            fn from(code: u16) -> Self {
                match code { $($code => Self::$variant,)* other => Self::Unknown(other) }
            }
        }
    };
}

codes! {
    /// Why a registration is denied.
    DenyCode {
        /// The proof does not match any secret this client may use.
        Unauthorized = 1 "unauthorized",
        /// Another live client holds the id.
        DuplicateId = 2 "duplicate_id",
        /// The id may not serve that group.
        GroupNotAllowed = 3 "group_not_allowed",
        /// A name or a list in `Register` is not acceptable.
        Invalid = 4 "invalid",
        /// The server is full or draining.
        Overload = 5 "overload",
    }
}
codes! {
    /// Why a session was refused before it started.
    RefuseCode {
        /// The upstream refused the connection or is unreachable.
        Unreachable = 1 "unreachable",
        /// The upstream did not answer in time.
        Timeout = 2 "timeout",
        /// The client has no upstream of that name.
        UnknownUpstream = 3 "unknown_upstream",
        /// The client has reached a limit.
        Overload = 4 "overload",
    }
}
codes! {
    /// Why a session broke after it started, or a connection was not opened.
    ResetCode {
        /// The visitor reset or vanished.
        VisitorGone = 1 "visitor_gone",
        /// The upstream reset or vanished.
        UpstreamReset = 2 "upstream_reset",
        /// A deadline passed.
        Timeout = 3 "timeout",
        /// The side that sends it is shutting down.
        Shutdown = 4 "shutdown",
        /// The peer broke the protocol.
        Protocol = 5 "protocol",
        /// A limit was reached.
        Overload = 6 "overload",
        /// The other side could not be reached.
        Unreachable = 7 "unreachable",
        /// The link that vouched for the session fell silent.
        LinkSilent = 8 "link_silent",
    }
}
