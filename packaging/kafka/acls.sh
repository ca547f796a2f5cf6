#!/bin/sh
# What each role needs of Kafka's access lists, and no more:
#
#   BOOTSTRAP=kafka.example.org:9092 PROBER=User:lapwing-probe WRITER=User:lapwing-write ./acls.sh
#
# COMMAND_CONFIG names a file with the settings of an administrator, KAFKA_ACLS the tool where it is not on the path. READ and WRITE
# include DESCRIBE. Create the topics yourself before (docs/managed-services.md), or set CREATE=yes: then either role makes what is missing.
# Brokers before Kafka 2.8 also want IdempotentWrite on the cluster, of both users.
set -eu

: "${BOOTSTRAP:?host:port of a broker}" "${PROBER:?principal of lapwing probe}" "${WRITER:?principal of lapwing write}"
topic=${TOPIC:-lapwing.results}
dead_topic=${DEAD_TOPIC:-lapwing.results.dead}
group=${GROUP:-lapwing-writer}

allow() {
    principal=$1
    shift
    "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
        --add --allow-principal "$principal" "$@"
}

allow "$PROBER" --operation Write --topic "$topic"

allow "$WRITER" --operation Read --topic "$topic"
allow "$WRITER" --operation Read --group "$group"
allow "$WRITER" --operation Write --topic "$dead_topic" # copies of dead letters

if [ "${CREATE:-no}" = yes ]; then
    allow "$PROBER" --operation Create --topic "$topic"
    allow "$WRITER" --operation Create --topic "$topic"
    allow "$WRITER" --operation Create --topic "$dead_topic"
    # The dead topic then takes what the results' topic takes.
    allow "$WRITER" --operation DescribeConfigs --topic "$topic"
fi
