#!/usr/bin/perl
# A chat in Perl, with what Perl brings along. Every line is a request, or something about a live connection.
use strict;
use warnings;
use JSON::PP;

$| = 1;    # answers leave at once
my $json = JSON::PP->new->utf8->canonical;
my %name;    # of each connection, also in its data, which outlives this process

sub put { print $json->encode($_[0]), "\n" }

sub announce {
    my ($text, $except) = @_;
    put({ do => 'publish', room => 'lobby', data => { text => $text }, $except ? (except => $except) : () });
}

put({ do => 'routes', routes => ['GET /who'], channels => ['/chat'] });

while (my $line = <STDIN>) {
    my $event = $json->decode($line);
    my ($type, $conn) = @$event{qw(type conn)};
    if ($type eq 'request') {
        put({ id => $event->{id}, body_json => { here => [sort values %name] } });
    }
    elsif ($type eq 'open' && $event->{resumed}) {
        # Another process had it before: it is in its room already, and its data tells the rest.
        $name{$conn} = $event->{data}{name} // 'somebody';
    }
    elsif ($type eq 'open') {
        my ($wanted) = $event->{query} =~ /(?:^|&)name=(\w+)/;
        $name{$conn} = $wanted // 'somebody';
        put({ do => 'data', conn => $conn, data => { name => $name{$conn} } });
        put({ do => 'join', conn => $conn, room => 'lobby' });
        announce("$name{$conn} comes in", $conn);
        put({ do => 'send', conn => $conn, data => { text => "welcome, $name{$conn}" } });
    }
    elsif ($type eq 'message') {
        my $text = $event->{data} // next;    # a binary message has data_base64
        announce("$name{$conn}: $text");
    }
    elsif ($type eq 'close') {
        announce(delete($name{$conn}) . ' leaves');
    }
}
