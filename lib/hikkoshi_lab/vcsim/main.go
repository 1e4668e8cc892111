// Command vcsim is the lab's vCenter: govmomi's simulator behind a few flags.
//
// It starts with one datacenter, one cluster of three hosts, one distributed switch that all hosts belong to, no
// datastore and no virtual machine; the lab gives it the rest, and the site's names. Each host has two physical NICs, vmnic0
// behind the standard switch and vmnic1 behind the distributed one. When it listens it prints one line,
// "url https://HOST:PORT/sdk". SIGTERM or SIGINT ends it and removes its files from $TMPDIR.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func main() {
	model := simulator.VPX()
	listen := flag.String("l", "127.0.0.1:0", "address to listen on")
	cert := flag.String("tlscert", "", "certificate chain (PEM); without one, the Go test certificate")
	key := flag.String("tlskey", "", "private key (PEM)")
	user := flag.String("username", "administrator", "the only user; a domain is not to be part of it")
	password := flag.String("password-file", "", "file with the password")
	delay := flag.Int("delay", 0, "milliseconds before every answer")
	delays := flag.String("method-delay", "", "milliseconds before one method's answer, or in one task: METHOD:MS,TASK:MS")
	flag.StringVar(&model.ServiceContent.About.ApiVersion, "api-version", model.ServiceContent.About.ApiVersion, "API version to announce")
	seen := flag.String("network-hints", "", "JSON file, {host: [PhysicalNicHintInfo]}: what each host has seen on its NICs")
	lease := flag.Duration("lease-timeout", 5*time.Minute, "after which an import lease without a sign of life is over")
	without := flag.String("without", "", "privileges that the user does not have: ID,ID")
	flag.IntVar(&model.ClusterHost, "host", 3, "hosts in the cluster")
	flag.Parse()

	model.Host, model.Machine, model.Datastore = 0, 0, 0
	model.DelayConfig.Delay = *delay
	model.DelayConfig.MethodDelay = methodDelays(*delays)
	simulator.TaskDelay.MethodDelay = model.DelayConfig.MethodDelay

	// the server panics where the address is taken, and leaves its files behind; so look first
	probe, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	probe.Close()
	certificates := certificate(*cert, *key)
	secret := readPassword(*password)
	hints := readHints(*seen)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	addUplinks(model.Map(), hints)
	newHost(model.Service, model.Map(), *lease, *without)
	model.Service.TLS = &tls.Config{Certificates: certificates}
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, secret)}
	server := model.Service.NewServer()
	fmt.Printf("url %s://%s%s\n", server.URL.Scheme, server.URL.Host, server.URL.Path)
	<-stop
}

// addUplinks gives the hosts physical NICs, which the simulator leaves out, and what was seen on them.
func addUplinks(registry *simulator.Registry, hints map[string][]types.PhysicalNicHintInfo) {
	for _, entity := range registry.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		system := registry.Get(*host.ConfigManager.NetworkSystem).(*simulator.HostNetworkSystem)
		system.Returnval = hints[host.Name]
		info := system.NetworkInfo
		for _, device := range []string{"vmnic0", "vmnic1"} {
			key := "key-vim.host.PhysicalNic-" + device
			info.Pnic = append(info.Pnic, types.PhysicalNic{Key: key, Device: device})
		}
		info.Vswitch[0].Key = "key-vim.host.VirtualSwitch-" + info.Vswitch[0].Name
		info.Vswitch[0].Pnic = []string{info.Pnic[0].Key}
		for _, entity := range registry.All("DistributedVirtualSwitch") {
			dvs := entity.(*simulator.DistributedVirtualSwitch)
			info.ProxySwitch = append(info.ProxySwitch, types.HostProxySwitch{
				Key: "key-vim.host.ProxySwitch-" + dvs.Name, DvsUuid: dvs.Uuid, DvsName: dvs.Name, Pnic: []string{info.Pnic[1].Key},
				Spec: types.HostProxySwitchSpec{Backing: &types.DistributedVirtualSwitchHostMemberPnicBacking{}},
			})
		}
	}
}

func readHints(path string) map[string][]types.PhysicalNicHintInfo {
	hints := map[string][]types.PhysicalNicHintInfo{}
	if path == "" {
		return hints
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &hints)
	}
	if err != nil {
		log.Fatalf("-network-hints: %s", err)
	}
	return hints
}

func certificate(cert, key string) []tls.Certificate {
	if cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	return []tls.Certificate{pair}
}

func readPassword(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return strings.TrimRight(string(content), "\n")
}

func methodDelays(text string) map[string]int {
	delays := map[string]int{}
	for _, item := range strings.Split(text, ",") {
		if name, milliseconds, found := strings.Cut(item, ":"); found {
			n, err := strconv.Atoi(milliseconds)
			if err != nil {
				log.Fatalf("-method-delay: %s", err)
			}
			delays[name] = n
		}
	}
	return delays
}
